"""Removes dropped pictures and sent archives that were kept for long enough; what was said of them stays.

Every gateway tries from time to time, and one at a time does it: the one that holds a named lock of the database. It
works page by page: the ledger first says that pictures are no longer kept, then they go. Whoever dies in between leaves
a page that is listed again, so the next one ends it; and two at work at once would only do the same twice.

It needs s3:ListBucket and s3:DeleteObject for what is under SLUICE_GATEWAY_STORE.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.shelves import is_over
from gateway.store import ARCHIVES, PICTURES, Clock, PictureStore, StoredObject, now
from gateway.uploads.names import UPLOAD_ID
from sluice.errors import LedgerError, SourceError
from sluice.ledger import AsyncLedger, Database, pictures, uploads
from sluice.settings import Settings
from sluice.telemetry import LedgerTelemetry, get_logger, metrics

log = get_logger()

LOCK: Final = "gateway.retention"
SWEEP_SECONDS: Final = 3600.0
MORE_SECONDS: Final = 10.0
"""Until the next sweep where one left something: so the others, and this process's people, have their turn."""
MOST_PAGES: Final = 100
"""In one sweep."""
PICTURE_PARTS: Final = 4
ARCHIVE_PARTS: Final = 3
PERSON: Final = re.compile(r"[0-9]{1,10}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class SweepResult:
    """What a sweep removed; `is_whole` says that it left nothing to do."""

    pictures: int = 0
    archives: int = 0
    pages: int = 0
    is_whole: bool = True

    def has_turn(self) -> bool:
        """Count a page; return whether there is still room for it in this sweep."""
        self.pages += 1
        self.is_whole = self.pages <= MOST_PAGES
        return self.is_whole


class Retention:
    """Sweeps the store, each time on a connection to the ledger that nothing else uses."""

    def __init__(self, settings: Settings, store: PictureStore, clock: Clock = now) -> None:
        self._days = settings.gateway_keep_days
        self._store = store
        self._clock = clock
        self._settings = settings
        self._archives_after = ""
        """The last archive that a sweep came to, if it ended before all were looked at."""

    async def run(self) -> None:
        """Sweep now and every hour, until cancelled."""
        while self._days:
            done: SweepResult | None = None
            try:
                done = await self.sweep()
                metrics.GATEWAY_SWEEP_FAILED.set(0)
            except (LedgerError, SourceError) as error:
                metrics.GATEWAY_SWEEP_FAILED.set(1)
                log.warning("what was kept for long enough can't be removed yet", why=str(error))
            await asyncio.sleep(SWEEP_SECONDS if done is None or done.is_whole else MORE_SECONDS)

    async def sweep(self) -> SweepResult | None:
        """Remove what was kept for long enough, as much of it as fits into one sweep; None: another gateway does."""
        done = SweepResult()
        ledger = AsyncLedger(Database(self._settings, LedgerTelemetry()), "retention")
        try:
            if not await ledger.call(Database.hold_lock, LOCK):
                return None
            await self._clear_shelves(ledger, done)
            await self._remove_archives(ledger, done)
            # The lock goes with its connection: now, and not as soon as the thread comes to it.
            await ledger.call(Database.close)
        finally:
            ledger.close()
            if done.pictures or done.archives:
                log.info(
                    "pictures and archives were removed, whose time was over",
                    days=self._days,
                    pictures=done.pictures,
                    archives=done.archives,
                )
        return done

    async def _clear_shelves(self, ledger: AsyncLedger, done: SweepResult) -> None:
        today = self._clock().date()
        for shelf in await self._store.shelves():
            if not is_over(shelf, today, self._days):
                continue
            after = ""
            while done.has_turn():
                page = await self._store.page(PICTURES, shelf, after=after)
                ours = _by_person(page.objects)
                for user_id, keys in ours.items():
                    await ledger.run(pictures.mark_removed, user_id, [key.encode() for key in keys])
                old = [key for keys in ours.values() for key in keys]
                await self._store.remove(old)
                metrics.GATEWAY_REMOVED.labels(what="picture").inc(len(old))
                done.pictures += len(old)
                if not page.after:
                    break
                after = page.after

    async def _remove_archives(self, ledger: AsyncLedger, done: SweepResult) -> None:
        """Remove archives whose jobs ended so long ago, and those that never became a job."""
        before = self._clock() - timedelta(days=self._days)
        while done.has_turn():
            page = await self._store.page(ARCHIVES, after=self._archives_after)
            ids = {each.key: each.place[1] for each in page.objects if _is_archive(each)}
            needed = await ledger.run(uploads.mark_removed, list(ids.values()), before.replace(tzinfo=None))
            # One without a row may be about to get it.
            late = {each.key for each in page.objects if each.modified >= before}
            keys = [key for key, upload_id in ids.items() if not needed.get(upload_id, key in late)]
            await self._store.remove(keys)
            metrics.GATEWAY_REMOVED.labels(what="archive").inc(len(keys))
            done.archives += len(keys)
            self._archives_after = page.after
            if not page.after:
                break


def _by_person(page: list[StoredObject]) -> dict[int, list[str]]:
    """Return the keys of dropped pictures, pictures/SHELF/PERSON/SHA-256, by person.

    Whatever else lies there was put there by others, for instance photos that somebody sorts by day.
    """
    found: dict[int, list[str]] = defaultdict(list)
    for each in page:
        if len(each.place) == PICTURE_PARTS and PERSON.fullmatch(each.place[2]) and SHA256.fullmatch(each.place[3]):
            found[int(each.place[2])].append(each.key)
    return found


def _is_archive(each: StoredObject) -> bool:
    """Return whether this is an archive that somebody sent: they lie at archives/UPLOAD/NAME."""
    return len(each.place) == ARCHIVE_PARTS and re.fullmatch(UPLOAD_ID, each.place[1]) is not None
