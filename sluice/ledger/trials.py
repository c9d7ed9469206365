"""The table `trials`: candidates that answer a share of the objects, from a person's wish to their end.

A trial is for the jobs of the version that is live when it begins, its name's: `live_id`. It ends when somebody stops
it, when its gates say so, when another version becomes live, or when its candidate can't be used any more. The tables
may be those of the release before, which has none of this: then there are no trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sluice.domain import Model
from sluice.domain.gates import GateDecision, TrialEvidence, TrialGates, judge, why_impossible
from sluice.errors import ConfigurationError, LedgerError, NotServed
from sluice.ledger import models
from sluice.ledger.columns import has_table
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import shortened

ACTIVE: Final = ("pending", "running")
MESSAGE_MAX: Final = 1000
MADE_BY_MAX: Final = 64
NO_GATES: Final = TrialGates()
"""Only people promote it; failures end it."""


@dataclass(frozen=True, slots=True)
class TrialWish:
    """What somebody asks for: which version is tried, on which share, and when it ends by itself."""

    model: str
    share: float = 0.1
    shadow: bool = False
    """It answers beside the live version; otherwise instead of it."""
    gates: TrialGates = NO_GATES
    made_by: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """A row of `trials`."""

    id: int
    wish: TrialWish
    state: str
    message: str
    model_id: int
    """The candidate and the live version; 0 before it begins."""
    live_id: int
    created: datetime
    started: datetime | None
    finished: datetime | None

    @property
    def mode(self) -> str:
        """Return what the candidate's answers are: beside the live version's, or instead of them."""
        return "shadow" if self.wish.shadow else "canary"


def check_wish(wish: TrialWish) -> TrialWish:
    """Return a wish, or raise an error that says what is wrong with it, whatever the ledger has."""
    if why := why_impossible(wish.gates, wish.share, shadow=wish.shadow):
        raise ConfigurationError(why)
    split_version(wish.model)
    return wish


def submit(cursor: LedgerCursor, wish: TrialWish) -> int:
    """Insert a trial and return its id; an error says what could only be told of later."""
    check_wish(wish)
    _check(cursor, wish.model)
    # An earlier try may have been committed although its answer was lost.
    cursor.execute("SELECT id FROM trials WHERE id = %s AND model = %s", (cursor.memory.get("tried", 0), wish.model))
    if (row := cursor.fetchone()) is not None:
        return int(row["id"])
    cursor.execute("SELECT id FROM trials WHERE model = %s AND state IN %s LIMIT 1", (wish.model, ACTIVE))
    if (row := cursor.fetchone()) is not None:
        raise ConfigurationError(f"trial {row['id']} tries {wish.model} already: stop it first")
    gates = wish.gates
    cursor.execute(
        "INSERT INTO trials (model, share, shadow, promote_n, promote_by, margin, confidence, stop_failures, made_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            wish.model,
            wish.share,
            wish.shadow,
            gates.promote_n,
            gates.promote_by,
            gates.margin,
            gates.confidence,
            gates.stop_failures,
            shortened(wish.made_by, MADE_BY_MAX),
        ),
    )
    cursor.memory["tried"] = cursor.lastrowid
    return int(cursor.lastrowid)


def get(cursor: LedgerCursor, trial_id: int) -> Trial | None:
    """Return one trial."""
    return next(iter(_find(cursor, "WHERE id = %s", trial_id)), None)


def of_model(cursor: LedgerCursor, model: str) -> Trial | None:
    """Return the newest trial of a version."""
    return next(iter(_find(cursor, "WHERE model = %s ORDER BY id DESC LIMIT 1", model)), None)


def newest(cursor: LedgerCursor, before_id: int = 2**32, limit: int = 100) -> list[Trial]:
    """Return a page of trials, the newest first."""
    return _find(cursor, "WHERE id < %s ORDER BY id DESC LIMIT %s", before_id, limit)


def active(cursor: LedgerCursor) -> list[Trial]:
    """Return the trials that haven't ended."""
    return _find(cursor, "WHERE state IN %s ORDER BY id", ACTIVE) if has_table(cursor, "trials") else []


def stop(cursor: LedgerCursor, trial_id: int, why: str = "") -> Trial:
    """End a trial; no object meets its candidate any more. Repeating it is harmless."""
    found = _locked(cursor, trial_id)
    if found.state in ACTIVE:
        _end(cursor, found, "stopped", why)
    elif found.state != "stopped":
        raise LedgerError(
            f"trial {trial_id} has ended: {found.wish.model} was promoted. "
            "To go back, promote the older version: `sluice models promote`"
        )
    return _locked(cursor, trial_id)


def attend(cursor: LedgerCursor, trial_id: int) -> Trial | None:
    """Begin a trial, or end it, if it is time for that; otherwise say in its message what it waits for."""
    # Read before its row is locked: with many reports this takes a while.
    seen = evidence(cursor, trial_id)
    found = next(iter(_find(cursor, "WHERE id = %s FOR UPDATE", trial_id)), None)
    if found is None or found.state not in ACTIVE:
        return found
    message = _begin(cursor, found) if found.state == "pending" else _go_on(cursor, found, seen)
    if message != found.message:
        cursor.execute("UPDATE trials SET message = %s WHERE id = %s", (shortened(message, MESSAGE_MAX), trial_id))
    return get(cursor, trial_id)


def evidence(cursor: LedgerCursor, trial_id: int) -> TrialEvidence:
    """Return what was counted in a trial, and what reports say of it."""
    cursor.execute(
        "SELECT SUM(IF(label = '', 0, objects)) AS answered, SUM(IF(label = '', objects, 0)) AS failed, "
        "SUM(IF(label <> '' AND label = live_label, objects, 0)) AS agreed FROM trial_counts WHERE trial_id = %s",
        (trial_id,),
    )
    counted = cursor.fetchone() or {}
    cursor.execute(
        "SELECT SUM(is_right AND live_is_right) AS both_right, SUM(is_right AND NOT live_is_right) AS only_candidate, "
        "SUM(live_is_right AND NOT is_right) AS only_live, SUM(NOT is_right AND NOT live_is_right) AS both_wrong, "
        "SUM(live_is_right IS NULL AND is_right) AS candidate_right, SUM(live_is_right IS NULL) AS candidate_reports, "
        "SUM(is_right IS NULL AND live_is_right) AS live_right, SUM(is_right IS NULL) AS live_reports "
        "FROM trial_reports WHERE trial = %s",
        (trial_id,),
    )
    reported = cursor.fetchone() or {}
    return TrialEvidence(**{name: int(value or 0) for name, value in {**counted, **reported}.items()})


def _begin(cursor: LedgerCursor, found: Trial) -> str:
    """Begin a trial; return what it waits for."""
    wish = found.wish
    if why := why_impossible(wish.gates, wish.share, shadow=wish.shadow):
        return why
    try:
        candidate = models.sound(cursor, *split_version(wish.model))
    except (ConfigurationError, NotServed) as error:
        return str(error)
    if candidate.live:
        return _end(cursor, found, "stopped", f"{wish.model} is live already")
    live = models.live_version(cursor, candidate.name)
    if live is None:
        return f"{candidate.name} has no live version to try it beside: `sluice models promote` makes one live"
    cursor.execute("SELECT id, model FROM trials WHERE live_id = %s AND state = 'running' LIMIT 1", (live.id,))
    if (other := cursor.fetchone()) is not None:
        return f"waits for the end of trial {other['id']}, which tries {other['model']}"
    cursor.execute("SELECT COALESCE(MAX(id), 0) AS newest FROM feedback")
    cursor.execute(
        "UPDATE trials SET state = 'running', model_id = %s, live_id = %s, reports_from = %s, message = '', "
        "started = CURRENT_TIMESTAMP(3) WHERE id = %s",
        (candidate.id, live.id, (cursor.fetchone() or {"newest": 0})["newest"], found.id),
    )
    return ""


def _go_on(cursor: LedgerCursor, found: Trial, seen: TrialEvidence) -> str:
    """End a trial whose time has come; return what it waits for otherwise."""
    candidate, live = models.get(cursor, found.model_id), models.get(cursor, found.live_id)
    if candidate is None or live is None:
        return _end(cursor, found, "stopped", "its candidate or the live version is no longer registered")
    if candidate.live:
        return _end(cursor, found, "promoted", f"{found.wish.model} was promoted by somebody")
    if why := _why_unfit(candidate, live):
        return _end(cursor, found, "stopped", why)
    verdict = judge(found.wish.gates, seen)
    if verdict.decision is GateDecision.STOP:
        return _end(cursor, found, "stopped", verdict.why)
    if verdict.decision is GateDecision.PROMOTE:
        return _promote(cursor, found, verdict.why)
    return verdict.why


def _why_unfit(candidate: Model, live: Model) -> str:
    if not live.live:
        return f"{live.name}@{live.version}, which it is compared with, is no longer live"
    if candidate.failed:
        return f"its candidate can't be loaded: {candidate.failed}"
    return "its candidate was retired" if candidate.retired else ""


def _promote(cursor: LedgerCursor, found: Trial, why: str) -> str:
    try:
        models.promote(cursor, *split_version(found.wish.model))
    except NotServed as error:
        return f"{why}. It isn't promoted yet: {error}"
    return _end(cursor, found, "promoted", why)


def _end(cursor: LedgerCursor, found: Trial, state: str, why: str) -> str:
    """Set a trial's last state, and return what is said of it."""
    cursor.execute(
        "UPDATE trials SET state = %s, message = %s, finished = CURRENT_TIMESTAMP(3) WHERE id = %s",
        (state, shortened(why, MESSAGE_MAX), found.id),
    )
    return why


def _check(cursor: LedgerCursor, model: str) -> None:
    """Refuse a candidate that can't be tried now or later."""
    try:
        candidate = models.sound(cursor, *split_version(model))
    except NotServed:
        return  # the trial waits for it
    if candidate.live:
        raise ConfigurationError(f"{model} is live: a trial is for a version that isn't")
    if models.live_version(cursor, candidate.name) is None:
        raise ConfigurationError(
            f"{candidate.name} has no live version to try {model} beside: `sluice models promote {model}` makes it live"
        )


def split_version(model: str) -> tuple[str, str]:
    """Return the name and the version of NAME@VERSION."""
    name, _, version = model.partition("@")
    if not name or not version:
        raise ConfigurationError(
            f"{model!r:.100} names no version: write NAME@VERSION, as `sluice models list` shows it"
        )
    return name, version


def _locked(cursor: LedgerCursor, trial_id: int) -> Trial:
    found = _find(cursor, "WHERE id = %s FOR UPDATE", trial_id)
    if not found:
        raise LedgerError(f"there is no trial {trial_id}: `sluice models trials` lists them")
    return found[0]


def _find(cursor: LedgerCursor, rest: str, *values: object) -> list[Trial]:
    cursor.execute(f"SELECT * FROM trials {rest}", values)
    return [_trial(row) for row in cursor.fetchall()]


def _trial(row: dict[str, Any]) -> Trial:
    gates = TrialGates(row["promote_n"], row["promote_by"], row["margin"], row["confidence"], row["stop_failures"])
    return Trial(
        row["id"],
        TrialWish(row["model"], row["share"], bool(row["shadow"]), gates, row["made_by"]),
        row["state"],
        row["message"],
        row["model_id"] or 0,
        row["live_id"] or 0,
        row["created"],
        row["started"],
        row["finished"],
    )
