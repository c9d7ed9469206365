"""The table `trainings`: what people ask trainers to make, who is at it, how far it is, and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sluice.domain import Model, check_source
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import models
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import shortened

COLUMNS: Final = (
    "id, name, version, source, test, corrections, base, fine_tune, seed, made_by, state, message, stage, done, total, "
    "eta_seconds, trainer, deaths, findings, model_id, created, started, finished"
)
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
VERSION: Final = re.compile(r"[0-9][0-9.]{0,15}")
NUMBERED: Final = re.compile(r"(\d{1,6})\.(\d{1,6})")
BASE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
SEED_MAX: Final = 2**32 - 1
LABELS_MAX: Final = 1_000_000
MESSAGE_MAX: Final = 1000
SILENT_SECONDS: Final = 30
"""A trainer that wasn't heard of for so long has lost its training to the next one."""
DEATHS_MAX: Final = 20
"""So many trainers in a row that ended without coming any further are the training's own fault."""
SLICE: Final = 1000
UNDER_WAY: Final = ("pending", "running")
WAITING: Final = "SELECT COUNT(*) AS wanted FROM trainings WHERE state IN ('pending', 'running')"
"""What the chart's autoscaler asks: a training that is at work counts, so its trainer stays."""


@dataclass(frozen=True, slots=True)
class Training:
    """A row of `trainings`."""

    id: int
    name: str
    version: str
    source: str
    test: str
    corrections: bool
    base: str
    fine_tune: bool
    seed: int
    made_by: str
    state: str
    message: str
    stage: str
    done: int
    total: int
    eta_seconds: float | None
    trainer: str
    deaths: int
    findings: tuple[str, ...]
    model_id: int | None
    created: datetime
    started: datetime | None
    finished: datetime | None

    @property
    def asked(self) -> str:
        """What was asked for, and when: no other training's is the same, whatever its number."""
        return json.dumps([str(self.created), self.name, self.source, self.test, self.corrections])


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a training is."""

    stage: str
    done: int
    total: int
    eta_seconds: float | None = None
    message: str = ""
    came_further: bool = False
    """What was reached since the last time survives its trainer's death."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for: pictures with labels, and the name of the model that they should become."""

    name: str
    source: str = ""
    version: str = ""
    test: str = ""
    corrections: bool = False
    base: str = "efficientnet-lite0"
    fine_tune: bool = False
    seed: int = 1
    made_by: str = ""


def check_wish(wish: Wish) -> Wish:
    """Return a wish in the form that is stored, or raise an error that says what is wrong with it."""
    if not NAME.fullmatch(wish.name):
        raise ConfigurationError(f"{wish.name!r:.100} can't be a model's name: use small letters, digits, '.' and '-'")
    if wish.version and not VERSION.fullmatch(wish.version):
        raise ConfigurationError(f"{wish.version!r:.100} can't be a version: use digits and dots, as in 1.0")
    if not BASE.fullmatch(wish.base):
        raise ConfigurationError(f"{wish.base!r:.100} can't be a base: name a recipe, as efficientnet-lite0")
    if not 0 <= wish.seed <= SEED_MAX:
        raise ConfigurationError(f"the seed is {wish.seed}: give 0 to {SEED_MAX}")
    return replace(
        wish,
        source=check_source(wish.source) if wish.source else "",
        test=check_source(wish.test) if wish.test else "",
        made_by=shortened(wish.made_by, 64),
    )


def check_pictures(wish: Wish, labels: Sequence[object]) -> None:
    """Raise an error if there is nothing to learn from."""
    if not labels and not wish.source and not wish.corrections:
        raise ConfigurationError("there are no pictures to learn from: name a source, labels, or corrections")


def submit(cursor: LedgerCursor, wish: Wish, labels: Iterable[tuple[str, str]] = ()) -> int:
    """Insert a training with the labels that it brings, and return its id."""
    wish = check_wish(wish)
    # An earlier try may have been committed although its answer was lost.
    cursor.execute("SELECT id FROM trainings WHERE id = %s AND name = %s", (cursor.memory.get("asked", 0), wish.name))
    if (row := cursor.fetchone()) is not None:
        return int(row["id"])
    if wish.version:
        _refuse_taken(cursor, wish.name, wish.version)
    cursor.execute(
        "INSERT INTO trainings (name, source, version, test, corrections, base, fine_tune, seed, made_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (wish.name, wish.source, wish.version, wish.test, wish.corrections, wish.base, wish.fine_tune, wish.seed,
         wish.made_by),
    )  # fmt: skip
    made = int(cursor.lastrowid)
    told = [(made, url, label) for url, label in labels]
    for start in range(0, len(told), SLICE):
        cursor.executemany(
            "INSERT INTO training_labels (training_id, url, label) VALUES (%s, %s, %s)", told[start : start + SLICE]
        )
    check_pictures(wish, told)
    cursor.memory["asked"] = made
    return made


def get(cursor: LedgerCursor, training_id: int) -> Training | None:
    """Return one training."""
    return next(iter(_find(cursor, "WHERE id = %s", training_id)), None)


def last(cursor: LedgerCursor) -> Training | None:
    """Return the training that was asked for last."""
    return next(iter(_find(cursor, "ORDER BY id DESC LIMIT 1")), None)


def newest(cursor: LedgerCursor, before_id: int = 2**32, limit: int = 100) -> list[Training]:
    """Return a page of trainings, the newest first."""
    return _find(cursor, "WHERE id < %s ORDER BY id DESC LIMIT %s", before_id, limit)


def labels_of(cursor: LedgerCursor, training_id: int, after_id: int, limit: int) -> list[tuple[int, str, str]]:
    """Return the next labels that a training brought: number, url and label."""
    cursor.execute(
        "SELECT id, url, label FROM training_labels WHERE training_id = %s AND id > %s ORDER BY id LIMIT %s",
        (training_id, after_id, limit),
    )
    return [(row["id"], row["url"], row["label"]) for row in cursor.fetchall()]


def claim(cursor: LedgerCursor, trainer: str) -> Training | None:
    """Give a trainer the next training: one that it had, one whose trainer fell silent, or one that nobody began.

    One that many trainers died of fails instead.
    """
    cursor.execute(
        "SELECT id, name, version, state, deaths, stage FROM trainings WHERE state = 'pending' OR (state = 'running' "
        f"AND (trainer = %s OR beat IS NULL OR beat < CURRENT_TIMESTAMP(3) - INTERVAL {SILENT_SECONDS} SECOND)) "
        "ORDER BY state = 'pending', id LIMIT 1 FOR UPDATE",
        (trainer,),
    )
    row = cursor.fetchone()
    if row is None:
        return None
    deaths = row["deaths"] + (row["state"] == "running")
    if deaths >= DEATHS_MAX:
        end(
            cursor, row["id"], "failed",
            f"its trainer ended {deaths} times at '{row['stage']}' without coming further: does it have enough memory?",
        )  # fmt: skip
        return None
    cursor.execute(
        "UPDATE trainings SET state = 'running', trainer = %s, beat = CURRENT_TIMESTAMP(3), deaths = %s, version = %s, "
        "started = COALESCE(started, CURRENT_TIMESTAMP(3)) WHERE id = %s",
        (trainer, deaths, row["version"] or _next_version(cursor, row["name"]), row["id"]),
    )
    return get(cursor, row["id"])


def beat(cursor: LedgerCursor, training_id: int, trainer: str, reached: Reached) -> bool:
    """Say that a trainer lives and how far it is; return whether the training is still its own."""
    cursor.execute(
        "UPDATE trainings SET beat = CURRENT_TIMESTAMP(3), message = %s, stage = %s, done = %s, total = %s, "
        "eta_seconds = %s, deaths = IF(%s, 0, deaths) WHERE id = %s AND trainer = %s AND state = 'running'",
        (
            shortened(reached.message, MESSAGE_MAX),
            reached.stage,
            reached.done,
            reached.total,
            reached.eta_seconds,
            reached.came_further,
            training_id,
            trainer,
        ),
    )
    return _is_own(cursor, training_id, trainer)


def give_back(cursor: LedgerCursor, training_id: int, trainer: str) -> None:
    """Let the next trainer go on with a training at once."""
    cursor.execute(
        "UPDATE trainings SET state = 'pending', trainer = '', eta_seconds = NULL, message = '' "
        "WHERE id = %s AND trainer = %s AND state = 'running'",
        (training_id, trainer),
    )


def set_findings(cursor: LedgerCursor, training_id: int, findings: Sequence[str]) -> None:
    """Keep what was found in a training's pictures."""
    told = json.dumps(list(findings), ensure_ascii=False)
    cursor.execute("UPDATE trainings SET findings = %s WHERE id = %s", (told, training_id))


def finish(
    cursor: LedgerCursor, training_id: int, trainer: str, card: Mapping[str, Any], archive: models.StoredArchive
) -> Model | None:
    """Publish what a training made and set it to done, both or none; None if it isn't this trainer's any more."""
    cursor.execute("SELECT state, trainer, model_id FROM trainings WHERE id = %s FOR UPDATE", (training_id,))
    row = cursor.fetchone()
    if (
        row is not None and row["state"] == "done" and row["trainer"] == trainer
    ):  # the answer of an earlier try was lost
        return models.get(cursor, row["model_id"])
    if row is None or (row["state"], row["trainer"]) != ("running", trainer):
        return None
    model = models.publish(cursor, card, archive)
    end(cursor, training_id, "done", "")
    cursor.execute("UPDATE trainings SET model_id = %s WHERE id = %s", (model.id, training_id))
    return model


def fail(cursor: LedgerCursor, training_id: int, trainer: str, message: str) -> None:
    """Fail a training that a trainer has, with what is wrong."""
    cursor.execute(
        "SELECT id FROM trainings WHERE id = %s AND trainer = %s AND state = 'running' FOR UPDATE",
        (training_id, trainer),
    )
    if cursor.fetchone() is not None:
        end(cursor, training_id, "failed", message)


def end(cursor: LedgerCursor, training_id: int, state: str, message: str) -> None:
    """Set a training's last state."""
    cursor.execute(
        "UPDATE trainings SET state = %s, message = %s, eta_seconds = NULL, finished = CURRENT_TIMESTAMP(3) "
        "WHERE id = %s",
        (state, shortened(message, MESSAGE_MAX), training_id),
    )


def cancel(cursor: LedgerCursor, training_id: int) -> Training:
    """Cancel a training; its trainer stops within seconds. Repeating it is harmless."""
    found = _locked(cursor, training_id)
    if found.state in UNDER_WAY:
        end(cursor, training_id, "cancelled", "")
    elif found.state != "cancelled":
        raise LedgerError(f"training {training_id} is {found.state}: only what is pending or running can be cancelled")
    return _locked(cursor, training_id)


def retry(cursor: LedgerCursor, training_id: int) -> Training:
    """Let a failed or cancelled training go on where it was. Repeating it is harmless."""
    found = _locked(cursor, training_id)
    if found.state in ("failed", "cancelled"):
        cursor.execute(
            "UPDATE trainings SET state = 'pending', message = '', trainer = '', deaths = 0, finished = NULL "
            "WHERE id = %s",
            (training_id,),
        )
    elif found.state == "done":
        raise LedgerError(f"training {training_id} is done: ask for another one with `sluice train`")
    return _locked(cursor, training_id)


def _locked(cursor: LedgerCursor, training_id: int) -> Training:
    found = _find(cursor, "WHERE id = %s FOR UPDATE", training_id)
    if not found:
        raise LedgerError(f"there is no training {training_id}: `sluice trainings list` shows what there is")
    return found[0]


def _is_own(cursor: LedgerCursor, training_id: int, trainer: str) -> bool:
    cursor.execute(
        "SELECT 1 FROM trainings WHERE id = %s AND trainer = %s AND state = 'running'", (training_id, trainer)
    )
    return cursor.fetchone() is not None


def _refuse_taken(cursor: LedgerCursor, name: str, version: str) -> None:
    taken = models.find(cursor, name, version) is not None or _find(
        cursor,
        "WHERE name = %s AND version = %s AND state IN ('pending', 'running') LIMIT 1",
        name,
        version,
    )
    if taken:
        raise ConfigurationError(f"{name}@{version} is there already, or being trained: give another version, or none")


def _next_version(cursor: LedgerCursor, name: str) -> str:
    """Return the version after a name's highest one; others that are asked for count too."""
    cursor.execute(
        "SELECT version FROM models WHERE name = %s UNION SELECT version FROM trainings WHERE name = %s", (name, name)
    )
    found = [NUMBERED.fullmatch(row["version"]) for row in cursor.fetchall()]
    major, minor = max(((int(each[1]), int(each[2])) for each in found if each), default=(1, -1))
    return f"{major}.{minor + 1}"


def _find(cursor: LedgerCursor, rest: str, *values: object) -> list[Training]:
    cursor.execute(f"SELECT {COLUMNS} FROM trainings {rest}", values)
    return [
        Training(
            **{
                **row,
                "corrections": bool(row["corrections"]),
                "fine_tune": bool(row["fine_tune"]),
                "findings": tuple(json.loads(row["findings"] or "[]")),
            }
        )
        for row in cursor.fetchall()
    ]
