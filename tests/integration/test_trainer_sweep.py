"""What trainings leave in the model store goes when no training needs it; archives and drawings stay."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from pathlib import Path

import pytest

from sluice.ledger import AsyncLedger, Database, LedgerCursor, trainings
from sluice.ledger.trainings import Wish
from sluice.settings import Settings
from trainer.sweeping import StoreSweep

NOW = dt.datetime.now(dt.UTC)
DAYS = 30


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def laid(store: Path, key: str, days: float = 0, size: int = 10) -> str:
    """Put a file of some age into a store; return its key."""
    path = store / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    at = (NOW - dt.timedelta(days=days)).timestamp()
    os.utime(path, (at, at))
    return key


def ended(cursor: LedgerCursor, number: int, state: str, days: int) -> None:
    cursor.execute(
        "UPDATE trainings SET state = %s, finished = CURRENT_TIMESTAMP(3) - INTERVAL %s DAY WHERE id = %s",
        (state, days, number),
    )


def swept(store: Path, settings: Settings, **changed: int) -> set[str]:
    """Sweep, as two trainers at once would; return what is left."""
    given = settings.model_copy(update={"model_store": f"file://{store}", "trainer_keep_days": DAYS, **changed})

    async def both() -> None:
        ledgers = [AsyncLedger(Database(given)) for _ in range(2)]
        done = await asyncio.gather(*(StoreSweep(given, ledger, lambda: NOW).run() for ledger in ledgers))
        assert all(done)
        for ledger in ledgers:
            ledger.close()

    asyncio.run(both())
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


def test_notes_go_with_what_is_done_and_stay_for_what_may_go_on(
    ledger: Database, settings: Settings, store: Path
) -> None:
    ids = {}
    for name, days in (("done", 0), ("failed", 1), ("cancelled", DAYS + 1), ("pending", 0), ("running", 0)):
        ids[name] = ledger.run(trainings.submit, Wish(name, "s3://bucket/a/"))
        ledger.run(ended, ids[name], name, days)
    keys = {name: laid(store, f"_trainings/{number}/pictures.json", DAYS + 9) for name, number in ids.items()}
    stay = {keys[name] for name in ("failed", "pending", "running")}
    stay |= {laid(store, "_trainings/4000000000/tuning.safetensors", 1), laid(store, "drugs/1.0/confusion.svg", 999)}
    laid(store, "_trainings/4000000001/tuning.safetensors", DAYS + 1)
    laid(store, "_trainings/what.txt", DAYS + 1)
    assert swept(store, settings) == stay


def test_features_go_when_they_are_old_and_the_oldest_when_they_are_many(
    ledger: Database, settings: Settings, store: Path
) -> None:
    assert ledger
    laid(store, "_features/one/aa.safetensors", DAYS + 1)
    young = [laid(store, f"_features/two/{shelf}.safetensors", shelf, size=100) for shelf in range(3)]
    assert swept(store, settings) == set(young)
    assert swept(store, settings, trainer_features_bytes=250) == set(young[:2])
    assert swept(store, settings, trainer_features_bytes=0) == set()


def test_a_store_without_anything_is_swept(ledger: Database, settings: Settings, store: Path) -> None:
    assert ledger
    assert swept(store, settings) == set()
