"""Pictures for the tests of drift: committed, quarantined and counted as processes do it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from sluice import ledger
from sluice.domain import ListedObject
from sluice.drift import PictureMeasures
from sluice.ledger import Database, Prediction, drifting

SIZE: Final = 100
DAYS: Final = 400
_keys = count()

Shown = tuple[str, float]
"""A label, and the brightness of its picture."""


def pictures(number: int, cats: float = 0.5, brightness: float = 120.0) -> list[Shown]:
    """Return so many pictures, of which any hundred are alike; their brightness is spread a little around the mean."""
    labels = ["cat" if place * 37 % 100 < 100 * cats else "dög" for place in range(number)]
    return [(label, brightness + place % 16 - 8) for place, label in enumerate(labels)]


def add_objects(database: Database, job: int, number: int) -> list[int]:
    """List so many new objects of a job, and return them."""
    keys = sorted(b"%08d" % next(_keys) for _ in range(number))
    page = [ListedObject(key, "e", 1) for key in keys]
    database.run(ledger.listing.add_page, job, page, repeat_no=0, last=False, repeats=1)
    found = database.run(ledger.objects.pending, job, 0, 1_000_000)
    return [each.id for each in found if each.key in set(keys)]


def predictions_of(ids: Sequence[int], job: int, shown: Sequence[Shown], model_id: int = 1) -> list[Prediction]:
    """Return the predictions of some objects."""
    return [
        Prediction(
            object_id,
            job,
            model_id,
            label,
            0.75,
            ((label, 0.75),),
            b"\0" * 32,
            "test",
            measures=PictureMeasures(brightness, 40.0, 6.0, 640, 480),
        )
        for object_id, (label, brightness) in zip(ids, shown, strict=True)
    ]


def classify(database: Database, job: int, shown: Sequence[Shown], model_id: int = 1, batch: int = 32) -> list[int]:
    """Commit predictions of new objects, batch by batch; return the objects."""
    ids = add_objects(database, job, len(shown))
    rows = predictions_of(ids, job, shown, model_id)
    for first in range(0, len(rows), batch):
        database.run(ledger.predictions.commit, rows[first : first + batch])
    return ids


def count_all(database: Database, size: int = SIZE) -> None:
    """Count everything that is committed."""
    for model_id in database.run(drifting.models_to_count):
        while database.run(drifting.count, model_id, size, DAYS):
            pass


def told(database: Database, columns: str = "statistic, state") -> list[dict[str, Any]]:
    """Return what the view says."""

    def work(cursor: ledger.LedgerCursor) -> list[dict[str, Any]]:
        cursor.execute(f"SELECT {columns} FROM drift ORDER BY model_id, statistic")
        return list(cursor.fetchall())

    return database.run(work)


def alarmed(database: Database) -> set[str]:
    """Return the statistics that have an alarm."""
    return {row["statistic"] for row in told(database) if row["state"] == "alarm"}
