"""`sluice users`: people of the gateway, for whoever has the database's password: as when an admin lost their own."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli.connect import open_database, settings_of_a_person
from sluice.cli.screen import console, safe
from sluice.domain.accounts import PASSWORD_MAX, AccountRole, check_email, check_name, check_password, password_hasher
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import LedgerCursor
from sluice.ledger import tokens as ledger_tokens
from sluice.ledger import users as ledger_users
from sluice.ledger.users import Account, Outcome

PAGE: Final = 500
ID_DIGITS: Final = 10
EXAMPLES: Final = """\
Examples:

  sluice users list
  sluice users add ada@example.com --role admin
  sluice users reset-password admin@localhost
  sluice users deactivate bob@example.com
  sluice users tokens revoke ada@example.com --all"""
LAST_ADMIN: Final = "this is the last active admin: make somebody else an admin first, with `sluice users set-role`"

app = typer.Typer(help="Manage the gateway's people.", no_args_is_help=True, epilog=EXAMPLES)
tokens = typer.Typer(
    help="List and revoke people's tokens.",
    no_args_is_help=True,
    epilog="Examples:\n\n  sluice users tokens list ada@example.com\n  sluice users tokens revoke ada@example.com 12",
)
app.add_typer(tokens, name="tokens")

PersonArgument = Annotated[str, typer.Argument(metavar="PERSON", help="An e-mail address, or a number of `list`.")]


@app.command("list", epilog="Examples:\n\n  sluice users list\n  sluice users list --text example.com")
def list_users(
    text: Annotated[str, typer.Option(help="Only those whose name or address contains this text.")] = "",
) -> None:
    """List people with their roles."""
    table = _table("id", "name", "address", "role", "may sign in", "by", "since")
    after = 0
    with open_database() as database:
        while page := database.run(ledger_users.list_page, after, PAGE, text):
            for each in page:
                by = [way for way, has in (("password", each.has_password), ("company", each.has_subject)) if has]
                active = "yes" if each.active else "no"
                row = (each.id, each.name, each.email, each.role, active, " and ".join(by), f"{each.created:%Y-%m-%d}")
                table.add_row(*(safe(cell) for cell in row))
            after = page[-1].id
    if after:
        console().print(table)
    else:
        console().print("nobody: the gateway makes the first admin, and `sluice users add` anybody")


@app.command(
    epilog="Examples:\n\n  sluice users add ada@example.com --role admin\n"
    "  sluice users add ci@example.com --name nightly < password.txt"
)
def add(
    email: Annotated[str, typer.Argument(metavar="E-MAIL", help="The address that the person signs in with.")],
    role: Annotated[AccountRole, typer.Option(help="What the person may do.")] = AccountRole.USER,
    name: Annotated[str, typer.Option(help="Their name; default: the address up to its @.")] = "",
) -> None:
    """Add a person who signs in by password.

    The password is asked for, or is the first line of the standard
    input; it is never an argument, which others could see.
    """
    email = check_email(email)
    name = check_name(name or email.partition("@")[0])
    hashed = _new_password(email, name)
    with open_database() as database:
        made = database.run(ledger_users.add, name, email, role.value, hashed)
    if made is None:
        raise LedgerError("somebody has this e-mail address already: `sluice users list` shows who")
    _audit("added a person", user=made, role=role.value)
    print(f"{safe(email)} is person {made}, with the role {role.value}")


@app.command("set-role", epilog="Example:\n\n  sluice users set-role ada@example.com admin")
def set_role(
    person: PersonArgument, role: Annotated[AccountRole, typer.Argument(help="What the person may do.")]
) -> None:
    """Change what a person may do. The last active admin stays one."""
    account = _change(person, role=role.value)
    print(f"{safe(account.email)} has the role {role.value}")


@app.command(epilog="Example:\n\n  sluice users deactivate bob@example.com")
def deactivate(person: PersonArgument) -> None:
    """Let a person in no more: sessions and tokens end within 5 seconds. The last active admin stays."""
    account = _change(person, active=False)
    print(f"{safe(account.email)} may not sign in")


@app.command(epilog="Example:\n\n  sluice users activate bob@example.com")
def activate(person: PersonArgument) -> None:
    """Let a person in again."""
    account = _change(person, active=True)
    print(f"{safe(account.email)} may sign in")


@app.command(
    "reset-password",
    epilog="Examples:\n\n  sluice users reset-password admin@localhost\n"
    "  openssl rand -base64 18 | tee password.txt | sluice users reset-password admin@localhost",
)
def reset_password(person: PersonArgument) -> None:
    """Set a new password; all of the person's sessions end, their tokens stay.

    The password is asked for, or is the first line of the standard input.
    """
    with open_database() as database:
        account = database.run(_find, person)
        hashed = _new_password(account.email, account.name)
        if not database.run(ledger_users.set_password, account.id, hashed):
            raise _missing(person)
    _audit("set a password", user=account.id)
    print(f"{safe(account.email)} has a new password" + ("" if account.active else ", but may not sign in"))
    if not account.active:
        print(f"`sluice users activate {safe(account.email)}` changes that")


@tokens.command("list", epilog="Example:\n\n  sluice users tokens list ada@example.com")
def list_tokens(person: PersonArgument) -> None:
    """List a person's tokens; the tokens themselves are kept nowhere."""
    with open_database() as database:
        account = database.run(_find, person)
        found = database.run(ledger_tokens.list_tokens, account.id)
    if not found:
        console().print(f"{safe(account.email)} has no token")
        return
    table = _table("id", "name", "made", "ends", "last used")
    for each in found:
        ends = f"{each.expires:%Y-%m-%d}" if each.expires else "when revoked"
        used = f"{each.used:%Y-%m-%d %H:%M}" if each.used else "never"
        table.add_row(str(each.id), safe(each.name), f"{each.created:%Y-%m-%d}", ends, used)
    console().print(table)


@tokens.command(
    epilog="Examples:\n\n  sluice users tokens revoke ada@example.com 12\n"
    "  sluice users tokens revoke ada@example.com --all"
)
def revoke(
    person: PersonArgument,
    token: Annotated[int | None, typer.Argument(min=1, metavar="[TOKEN]", help="The number that `list` shows.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All tokens of this person.")] = False,
) -> None:
    """Revoke a token, or all of a person: programs that use it are refused within 5 seconds."""
    if (token is None) is not everything:
        raise ConfigurationError("say which: give the token's number, or --all")

    def work(cursor: LedgerCursor) -> tuple[Account, list[int]]:
        account = _find(cursor, person)
        wanted = [each.id for each in ledger_tokens.list_tokens(cursor, account.id)] if token is None else [token]
        return account, [each for each in wanted if ledger_tokens.revoke(cursor, account.id, each)]

    with open_database() as database:
        account, gone = database.run(work)
    if token is not None and not gone:
        raise LedgerError(f"{account.email} has no token {token}: `sluice users tokens list` shows theirs")
    for each in gone:
        _audit("revoked a token", user=account.id, token=each)
    print(f"{safe(account.email)}: {len(gone)} revoked")


def _change(person: str, *, role: str | None = None, active: bool | None = None) -> Account:
    """Change somebody's role, or whether they may sign in; return who it is."""

    def work(cursor: LedgerCursor) -> tuple[Account, Outcome]:
        account = _find(cursor, person)
        return account, ledger_users.change(cursor, account.id, role=role, active=active)

    with open_database() as database:
        account, outcome = database.run(work)
    if outcome == "last_admin":
        raise LedgerError(LAST_ADMIN)
    if outcome == "missing":
        raise _missing(person)
    _audit("changed a person", user=account.id, role=role, active=active)
    return account


def _find(cursor: LedgerCursor, person: str) -> Account:
    is_number = person.isascii() and person.isdecimal() and len(person) <= ID_DIGITS
    found = ledger_users.find(cursor, int(person)) if is_number else ledger_users.find_email(cursor, person)
    if found is None:
        raise _missing(person)
    return found


def _missing(person: str) -> LedgerError:
    return LedgerError(f"there is no person {person}: `sluice users list` shows who there is")


def _new_password(*known: str) -> str:
    """Ask for a password, twice where somebody sits at a terminal; return its hash."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        check_password(password, *known)
        if getpass.getpass("Once more: ") != password:
            raise ConfigurationError("these are two different passwords: nothing was changed")
    else:
        password = sys.stdin.readline(PASSWORD_MAX + 2).rstrip("\r\n")
        if not password:
            raise ConfigurationError("no password came: write it to the standard input, as its first line")
        check_password(password, *known)
    return password_hasher().hash(password)


def _audit(did: str, **what: object) -> None:
    """Write the line that the gateway writes of the same, to standard error."""
    from sluice.telemetry import configure, get_logger  # noqa: PLC0415 - brings structlog

    configure(settings_of_a_person())
    get_logger().info("audit", did=did, by=f"command line of {getpass.getuser()}", **what)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold", justify="right" if name == "id" else "left")
    return table
