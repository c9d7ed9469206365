"""What processes and people ask of the ledger, each by its own function, with what the server read for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sluice.domain import ListedObject
from sluice.ledger import (
    Database,
    LedgerCursor,
    PendingObject,
    Prediction,
    again,
    browse,
    drifting,
    jobs,
    listing,
    objects,
    predictions,
    progress,
    pruning,
    quarantine_pages,
    sample,
    seen,
    shown,
    summary,
)
from sluice.ledger.browse import ResultsFilter, ResultsOrder
from tools.bench.growth_rows import CONSUMER, SIZE, TOP, GrownLedger, etag_of, key_of, label_of

PAGE: Final = 1000
"""Keys of a page of a listing, and objects that are leased at once."""
COMMIT: Final = 250
WINDOW: Final = 1000
DAYS: Final = 90
SHOWN: Final = 50
COUNTERS: Final = ("Innodb_buffer_pool_read_requests", "Innodb_buffer_pool_reads")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one transaction cost: milliseconds, rows and index entries read, pages looked at, pages read from disk."""

    ms: float
    rows: int
    pages: int
    disk: int


class GrowthWork:
    """One round of everything, on a ledger of one size; each round leaves as many done objects more."""

    def __init__(self, grown: GrownLedger, database: Database) -> None:
        self.grown = grown
        self._database = database
        self._overhead = 0
        self._overhead = self._measured(lambda cursor: cursor.execute("DO 0")).rows
        self.found: dict[str, list[Cost]] = {}

    def round(self) -> None:
        """List a page, lease and commit it, and ask everything else."""
        grown = self.grown
        page = [ListedObject(key_of(n), etag_of(n), SIZE) for n in range(grown.listed, grown.listed + PAGE)]
        self._note("list 1,000 new keys", lambda c: _list(c, grown.job_id, page))
        grown.listed += PAGE
        leased: list[list[PendingObject]] = []
        self._note("lease 1,000, from the first id", lambda c: leased.append(_lease(c, grown.job_id)))
        self._note("lease as one of three shards", lambda c: objects.pending(c, grown.job_id, 0, PAGE, 1, 3))
        for first in range(0, PAGE, COMMIT):
            rows = [self._prediction(found.id) for found in leased[-1][first : first + COMMIT]]
            self._note("commit 250", lambda c, rows=rows: predictions.commit(c, rows))  # type: ignore[misc]
        self._note("is the job done?", lambda c: jobs.finish(c, grown.job_id))
        self._note("count a commit for drift", lambda c: drifting.count(c, grown.model_id, WINDOW, DAYS))
        for name, work in self._questions().items():
            self._note(name, work)

    def _questions(self) -> dict[str, Callable[[LedgerCursor], object]]:
        job, middle = self.grown.job_id, self.grown.rows // 2
        known = [ListedObject(key_of(n), etag_of(n), SIZE) for n in range(middle, middle + PAGE)]
        wanted = ResultsFilter(label=label_of(self.grown.labels // 2))
        by_key = "SELECT * FROM current WHERE object_key = %s"
        by_label = "SELECT * FROM current WHERE label = %s LIMIT %s"
        return {
            "list 1,000 known keys": lambda c: _list(c, job, known),
            "status of a job": lambda c: progress.progress(c, job),
            "status of all jobs": progress.all_progress,
            "backlog": progress.backlog,
            "page of jobs": lambda c: seen.page(c, 0, is_admin=True, before_id=2**32, limit=SHOWN),
            "results for export, 1,000": lambda c: predictions.results(c, job, after_id=middle, limit=PAGE),
            "page of results": lambda c: browse.results_page(c, job, after=(middle,), limit=SHOWN),
            "page by score": lambda c: browse.results_page(c, job, ResultsOrder.SCORE, after=(0.5, 0), limit=SHOWN),
            "page by label": lambda c: browse.results_page(
                c, job, ResultsOrder.LABEL, after=(label_of(self.grown.labels // 2), 0.5, 0), limit=SHOWN
            ),
            "page of a label, by score": lambda c: browse.results_page(
                c, job, ResultsOrder.SCORE_DOWN, wanted, after=(0.5, 0), limit=SHOWN
            ),
            "page by a part of the name": lambda c: browse.results_page(
                c, job, ResultsOrder.OBJECT, ResultsFilter(text="77.jpg"), after=(middle,), limit=SHOWN
            ),
            "summary of results": lambda c: summary.summarize(c, job),
            "one object": lambda c: shown.find(c, middle, 0, is_admin=True),
            "current, one key": lambda c: c.execute(by_key, (key_of(middle),)),
            "current, 50 of a label": lambda c: c.execute(by_label, (label_of(1), SHOWN)),
            "page of the quarantine": lambda c: quarantine_pages.quarantine_page(c, job),
            "page of a repetition": lambda c: again.read_page(
                c, again.Repetition(job), self.grown.model_id, b"done:%d" % middle
            ),
            "prune, dry run": lambda c: pruning.prunable(c, pruning.PruneWish(days=DAYS)),
            "sample of 10 for check --bytes": lambda c: sample.done_objects(c, 10),
        }

    def _prediction(self, object_id: int) -> Prediction:
        digest = (object_id * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") * 4
        number = int.from_bytes(digest[:4], "big")
        labels = [label_of((number + place * 37) % self.grown.labels) for place in range(TOP)]
        top = tuple((label, round(number / 2**32 / (place + 1), 6)) for place, label in enumerate(labels))
        return Prediction(object_id, self.grown.job_id, self.grown.model_id, *top[0], top, digest, CONSUMER)

    def _note(self, name: str, work: Callable[[LedgerCursor], object]) -> None:
        self.found.setdefault(name, []).append(self._measured(work))

    def _measured(self, work: Callable[[LedgerCursor], object]) -> Cost:
        before = self._counted()
        begun = time.perf_counter()
        self._database.run(work)
        ms = 1000 * (time.perf_counter() - begun)
        rows, pages, disk = (now - then for now, then in zip(self._counted(), before, strict=True))
        return Cost(ms, rows - self._overhead, pages, disk)

    def _counted(self) -> tuple[int, int, int]:
        def ask(cursor: LedgerCursor) -> tuple[int, int, int]:
            cursor.execute("SHOW GLOBAL STATUS WHERE Variable_name IN %s", (COUNTERS,))
            of_server = {row["Variable_name"]: int(row["Value"]) for row in cursor.fetchall()}
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            rows = sum(int(row["Value"]) for row in cursor.fetchall())
            pages, disk = (of_server[name] for name in COUNTERS)
            return rows, pages, disk

        return self._database.run(ask)


def _list(cursor: LedgerCursor, job_id: int, page: list[ListedObject]) -> None:
    listing.add_page(cursor, job_id, page, repeat_no=0, last=False, repeats=1)


def _lease(cursor: LedgerCursor, job_id: int) -> list[PendingObject]:
    return objects.pending(cursor, job_id, 0, PAGE)
