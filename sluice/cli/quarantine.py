"""`sluice quarantine`: list quarantined objects, explain them, and replay them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from sluice.cli.connect import OptionalJob, find_job, open_database
from sluice.cli.screen import console, counted, meaning_and_remedy, safe
from sluice.domain import Reason
from sluice.errors import ConfigurationError, LedgerError
from sluice.exports import json_safe
from sluice.ledger import Database, QuarantinedObject
from sluice.ledger import objects as ledger_objects

PAGE: Final = 1000
EXAMPLES: Final = """\
Examples:

  sluice quarantine list last
  sluice quarantine show 1234
  sluice quarantine replay 7 --reason archived"""

app = typer.Typer(help="Show quarantined objects and why; replay them.", no_args_is_help=True, epilog=EXAMPLES)

ReasonOption = Annotated[str | None, typer.Option(help="Only this reason's code, as `list` shows it.")]


@app.command(
    "list",
    epilog="Examples:\n\n  sluice quarantine list last\n  sluice quarantine list 7 --reason truncated --limit 500\n"
    "  sluice quarantine list --json | jq -r .url",
)
def list_quarantined(
    job: OptionalJob = None,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of rows.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per object.")] = False,
) -> None:
    """List quarantined objects with their reasons."""
    _known_reason(reason)
    screen = console()
    shown = 0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("job", justify="right", no_wrap=True)
    table.add_column("reason", no_wrap=True)
    table.add_column("object", overflow="fold", ratio=3)
    table.add_column("detail", overflow="fold", ratio=2)
    with open_database() as database:
        job_id = _job_id(database, job)
        after = 0
        while shown < limit:
            size = min(PAGE, limit - shown)
            page = _page(database, job_id, reason, after, size)
            for row in page:
                if as_json:
                    print(_json(row))
                else:
                    table.add_row(str(row.id), str(row.job), safe(row.reason), safe(row.url), safe(row.detail))
            shown += len(page)
            if len(page) < size:
                break
            after = page[-1].id
        more = bool(shown == limit and _page(database, job_id, reason, page[-1].id, 1))
    if as_json:
        return
    if not shown:
        screen.print("nothing is in quarantine" + (f" for {safe(reason)}" if reason else ""))
        return
    screen.print(table)
    if more:
        screen.print(Text(f"the first {shown:,}: --limit N shows more", style="dim"))


@app.command(epilog="Example:\n\n  sluice quarantine show 1234")
def show(
    object_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="An object's id, from `quarantine list`.")],
) -> None:
    """Show all that is known of a quarantined object, what its reason means, and what to do about it."""
    with open_database() as database:
        found = database.run(ledger_objects.list_quarantined, ids=[object_id])
    if not found:
        raise LedgerError(f"object {object_id} is not in quarantine: `sluice quarantine list` shows what is")
    row = found[0]
    meaning, remedy = meaning_and_remedy(row.reason)
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("object", row.url),
        ("id", row.id),
        ("job", row.job),
        ("reason", row.reason),
        ("meaning", meaning),
        ("remedy", remedy),
        ("detail", row.detail),
        ("size", f"{row.size:,} bytes"),
        (
            "deaths",
            f"{counted(row.deaths, 'consumer')} died with it" if row.deaths else "no consumer died with it",
        ),
        ("when", f"{row.when:%Y-%m-%d %H:%M:%S}"),
        ("again", f"sluice quarantine replay --id {row.id}"),
    ):
        table.add_row(Text(name, style="bold"), Text(safe(value), overflow="fold"))
    console().print(table)


@app.command(
    epilog="Examples:\n\n  sluice quarantine replay last\n  sluice quarantine replay 7 --reason archived\n"
    "  sluice quarantine replay --id 1234 --id 1235\n  sluice quarantine replay --all"
)
def replay(
    job: OptionalJob = None,
    reason: ReasonOption = None,
    ids: Annotated[list[int] | None, typer.Option("--id", help="Only this object; can be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of all jobs.")] = False,
) -> None:
    """Make quarantined objects pending again; a job that was done runs again.

    Objects that still can't be classified come back to the quarantine.
    """
    _known_reason(reason)
    if job is None and not ids and not everything:
        raise ConfigurationError("say what to replay: a JOB, --id ID, or --all")
    if everything and (job is not None or ids):
        raise ConfigurationError("--all replays all jobs: leave it out to replay a JOB or an --id")
    replayed, after = 0, 0
    with open_database() as database:
        job_id = _job_id(database, job)
        # Page by page and each object once: an object that fails again immediately must not be replayed endlessly.
        while page := _page(database, job_id, reason, after, PAGE, ids):
            chosen = [row.id for row in page]
            after = chosen[-1]
            replayed += database.run(ledger_objects.replay, job_id, ids=chosen, reason=reason)
    if ids and replayed < len(set(ids)):
        raise LedgerError(
            f"{replayed:,} of {len(set(ids)):,} objects replayed: the others are not in quarantine (any more), "
            "or their jobs are cancelled"
        )
    print(f"made {counted(replayed, 'object')} pending again" if replayed else "no quarantined object matches")


def _page(
    database: Database, job_id: int | None, reason: str | None, after: int, size: int, ids: list[int] | None = None
) -> list[QuarantinedObject]:
    return database.run(ledger_objects.list_quarantined, job_id, limit=size, after_id=after, ids=ids, reason=reason)


def _job_id(database: Database, job: str | None) -> int | None:
    return None if job is None else database.run(find_job, job).id


def _known_reason(reason: str | None) -> None:
    if reason is not None and Reason.of_code(reason) is None:
        raise ConfigurationError(f"there is no reason {reason!r}: it is one of {', '.join(sorted(Reason))}")


def _json(row: QuarantinedObject) -> str:
    made = asdict(row) | dict(zip(("meaning", "remedy"), meaning_and_remedy(row.reason), strict=True))
    return json_safe(json.dumps(made, ensure_ascii=False, default=str))
