"""Clears the model store of what trainings left there: their notes once they have ended, and features of long ago.

Both cost only time if somebody needs them again, so nobody is asked first, and several trainers may do it at once.
Archives and drawings of versions stay.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Final

from sluice.errors import LedgerError, SourceError
from sluice.ledger import AsyncLedger
from sluice.ledger.ended_trainings import ended_since
from sluice.ledger.trainings import UNDER_WAY
from sluice.objects.kept import KeptFile, KeptFiles
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics
from trainer.course import FOLDER as NOTES
from trainer.learning.features import FOLDER as FEATURES

log = get_logger()

SWEEP_SECONDS: Final = 3600.0
AT_ONCE: Final = 500
"""Files that one sweep removes of each kind; then trainings that wait come first."""


class StoreSweep:
    """Sweeps the store of one trainer."""

    def __init__(
        self,
        settings: Settings,
        ledger: AsyncLedger,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._not_before = 0.0

    async def run_if_due(self) -> None:
        """Sweep, unless that was done within the last hour; what goes wrong is told and tried again."""
        if time.monotonic() < self._not_before:
            return
        try:
            is_whole = await self.run()
            metrics.TRAINER_SWEEP_FAILED.set(0)
        except (SourceError, LedgerError) as error:
            is_whole = True
            metrics.TRAINER_SWEEP_FAILED.set(1)
            log.warning("what no training needs can't be removed yet", why=str(error))
        self._not_before = time.monotonic() + SWEEP_SECONDS if is_whole else 0.0

    async def run(self) -> bool:
        """Remove what no training needs, so many files at once; return whether that was all."""
        with closing(KeptFiles(self._settings.model_store or "", self._settings)) as store:
            notes, features = [await asyncio.to_thread(store.files, f"{each}/") for each in (NOTES, FEATURES)]
            old = {"notes": await self._of_ended(notes), "features": self._too_old_or_many(features)}
            for what, files in old.items():
                await asyncio.to_thread(_remove, store, files[:AT_ONCE])
                metrics.TRAINING_FILES_REMOVED.labels(what=what).inc(len(files[:AT_ONCE]))
                if files:
                    log.info("files of trainings are removed", what=what, files=len(files))
        return all(len(files) <= AT_ONCE for files in old.values())

    async def _of_ended(self, files: list[KeptFile]) -> list[KeptFile]:
        """Return the files of trainings that don't go on: done ones, and those that ended otherwise long ago."""
        ids = {each: _training_of(each.key) for each in files}
        known = sorted({number for number in ids.values() if number})
        states = await self._ledger.run(ended_since, known)
        days, least = self._settings.trainer_keep_days, self._least()
        over = []
        for each, number in ids.items():
            state, ended_days = states.get(number, ("", None))
            is_old = each.modified < least if ended_days is None else ended_days >= days
            if state == "done" or (is_old and state not in UNDER_WAY):
                over.append(each)
        return over

    def _too_old_or_many(self, files: list[KeptFile]) -> list[KeptFile]:
        """Return files that weren't added to for long, and the oldest of more bytes than may be kept."""
        left, over = self._settings.trainer_features_bytes, []
        for each in sorted(files, key=lambda file: file.modified, reverse=True):
            left -= each.size
            if left < 0 or each.modified < self._least():
                over.append(each)
        return over

    def _least(self) -> dt.datetime:
        return self._clock() - dt.timedelta(days=self._settings.trainer_keep_days)


def _training_of(key: str) -> int:
    """Return the training of _trainings/ID/name; 0 for what lies there otherwise."""
    number = key.split("/")[1]
    return int(number) if number.isascii() and number.isdigit() else 0


def _remove(store: KeptFiles, files: Iterable[KeptFile]) -> None:
    for each in files:
        store.remove(each.key)
