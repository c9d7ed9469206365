"""`sluice models trial` and `sluice models trials`: try a version on a share of the objects, and see how it does."""

from __future__ import annotations

import getpass
from typing import Annotated, Final

import typer
from rich.table import Table

from sluice.cli.connect import open_database
from sluice.cli.screen import console, safe, state_text
from sluice.domain.gates import EXAMPLE_PROMOTE, EXAMPLE_STOP, read_gates
from sluice.errors import LedgerError
from sluice.ledger import Database, trials
from sluice.ledger.trial_progress import TrialProgress, pairs, progress
from sluice.ledger.trials import Trial, TrialWish

TRIAL_EXAMPLES: Final = f"""\
Examples:

  sluice models trial drugs@2.0 --share 0.1 --shadow
  sluice models trial drugs@2.0 --share 0.05 --promote-when "{EXAMPLE_PROMOTE}"
  sluice models trial drugs@2.0 --shadow --promote-when "n >= 500 and agreement >= 98 %" --stop-when "{EXAMPLE_STOP}"
  sluice models trial drugs@2.0 --stop"""
TRIALS_EXAMPLES: Final = "Examples:\n\n  sluice models trials\n  sluice models trials 3"
SHOWN: Final = 20

Candidate = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A registered version that isn't live.")]
ShareOption = Annotated[
    float, typer.Option("--share", metavar="SHARE", help="Of the objects, chosen by a hash of their content: 0 to 1.")
]
Shadow = Annotated[
    bool, typer.Option("--shadow", help="It answers beside the live version; without this, instead of it.")
]
PromoteWhen = Annotated[
    str | None,
    typer.Option("--promote-when", metavar="CONDITION", help=f"As in '{EXAMPLE_PROMOTE}' (points); else people do it."),
]
StopWhen = Annotated[
    str | None, typer.Option("--stop-when", metavar="CONDITION", help=f"As in '{EXAMPLE_STOP}', the default.")
]
Confidence = Annotated[
    float, typer.Option("--confidence", metavar="SHARE", help="How sure it must be, however often one looks.")
]


def trial(
    model: Candidate,
    share: ShareOption = 0.1,
    shadow: Shadow = False,
    promote_when: PromoteWhen = None,
    stop_when: StopWhen = None,
    confidence: Confidence = 0.95,
    stop: Annotated[bool, typer.Option("--stop", help="End the version's trial instead.")] = False,
) -> None:
    """Try a version on a share of the objects of the live version's jobs.

    With --shadow its answers stand beside the live version's and are
    compared with them; without, they are the predictions. Either begins
    within a second of the version being served, and ends when it is
    stopped, promoted, or when a condition is met.
    """
    if stop:
        _stop(model)
        return
    wish = trials.check_wish(TrialWish(model, share, shadow, read_gates(promote_when, stop_when, confidence), _me()))
    with open_database() as database:
        number = database.run(trials.submit, wish)
    print(f"trial {number}")
    print(f"`sluice models trials {number}` says how it does, `sluice models trial {model} --stop` ends it")


def show_trials(
    number: Annotated[int | None, typer.Argument(metavar="TRIAL", help="One trial's number: shows all of it.")] = None,
) -> None:
    """List the newest trials, or show how one does."""
    with open_database() as database:
        if number is not None:
            _show(database, number)
            return
        found = database.run(trials.newest, limit=SHOWN)
        told = database.run(progress, [each.id for each in found])
    screen = console()
    if not found:
        screen.print("no trial yet: begin one with `sluice models trial NAME@VERSION --shadow`")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("trial", "model", "mode", "share", "state", "answered", "agree", "message"):
        right = column in {"trial", "share", "answered", "agree"}
        table.add_column(column, overflow="fold", justify="right" if right else "left")
    for each in reversed(found):
        seen = told.get(each.id, TrialProgress())
        table.add_row(
            str(each.id),
            safe(each.wish.model),
            each.mode,
            f"{100 * each.wish.share:g} %",
            state_text(each.state),
            f"{seen.answered:,}",
            _percent(seen.agreement),
            safe(each.message),
        )
    screen.print(table)


def _stop(model: str) -> None:
    trials.split_version(model)
    with open_database() as database:
        found = database.run(trials.of_model, model)
        if found is None:
            raise LedgerError(f"{model} has no trial: `sluice models trials` lists them")
        ended = database.run(trials.stop, found.id, f"stopped by {_me()}")
    print(f"trial {ended.id} is {ended.state}")


def _show(database: Database, number: int) -> None:
    found = database.run(trials.get, number)
    if found is None:
        raise LedgerError(f"there is no trial {number}: `sluice models trials` lists them")
    seen = database.run(progress, [number]).get(number, TrialProgress())
    screen = console()
    table = Table.grid(padding=(0, 2))
    for name, value in _lines(found, seen):
        table.add_row(name, value)
    screen.print(table)
    differing = database.run(pairs, number, SHOWN)
    if differing:
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        shown.add_column("objects", justify="right", no_wrap=True)
        shown.add_column("live", overflow="fold")
        shown.add_column("candidate", overflow="fold")
        for pair in differing:
            shown.add_row(f"{pair.objects:,}", safe(pair.live_label), safe(pair.label or "(failed)"))
        screen.print()
        screen.print(shown)


def _lines(found: Trial, seen: TrialProgress) -> list[tuple[str, str]]:
    told = [
        ("trial", f"{found.id}: {safe(found.wish.model)}, {found.mode}, {100 * found.wish.share:g} % of the objects"),
        ("state", found.state),
        ("message", safe(found.message)),
        ("answered", f"{seen.answered:,}, and {seen.failed:,} failed"),
        ("agree", _percent(seen.agreement)),
        ("score", "" if seen.score_shift is None else f"{seen.score_shift:+.3f} on average"),
        ("time", _times(seen)),
        ("accuracy", _accuracy(seen)),
    ]
    return [(name, value) for name, value in told if value]


def _accuracy(seen: TrialProgress) -> str:
    if not seen.reports:
        return "no report yet"
    live = _percent(seen.live_accuracy) or "not known"
    return f"{_percent(seen.accuracy) or 'not known'}, the live version {live}, by {seen.reports:,} reports"


def _times(seen: TrialProgress) -> str:
    if seen.milliseconds is None:
        return ""
    own = f"{seen.milliseconds:.1f} ms a picture"
    return own if seen.live_milliseconds is None else f"{own}, the live version {seen.live_milliseconds:.1f} ms"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _me() -> str:
    """Return who this is on this machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return ""
