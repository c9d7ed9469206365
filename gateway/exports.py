"""Files of rows, streamed while they are made: whatever their size, one page of them is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from http import HTTPStatus
from typing import Final

from fastapi.responses import StreamingResponse

from gateway.doors.person import Person
from gateway.ledgers import LedgerPool
from gateway.places import Places
from gateway.search import ResultsSearch
from sluice.errors import RequestError
from sluice.exports import ExportFormat, csv_lines, has_parquet, results_writer
from sluice.ledger.browse import ResultsPage, results_page
from sluice.ledger.reports import Report, list_reports

MEDIA: Final = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.JSONL: "application/x-ndjson",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}
PAGE: Final = 1000
GROUP_ROWS: Final = 10_000
"""Of Parquet: smaller groups than the command's, since several files are made at once."""
MOST: Final = 8
MOST_OF_ONE: Final = 2
"""Files made at once by this process, and of them for one person."""
RETRY_SECONDS: Final = 10
REPORT_COLUMNS: Final = (
    "id",
    "object_id",
    "file_name",
    "predicted",
    "score",
    "label",
    "comment",
    "author",
    "created",
)


class Exports:
    """Makes files, so many at once at most."""

    def __init__(self, ledger: LedgerPool) -> None:
        self._ledger = ledger
        self._places = Places(MOST, "files are being made", RETRY_SECONDS, MOST_OF_ONE)

    async def results(
        self, person: Person, job_id: int, search: ResultsSearch, kind: ExportFormat
    ) -> StreamingResponse:
        """Answer with all results of a job that fit a search; whether the person may see them was checked before."""
        if kind is ExportFormat.PARQUET and not has_parquet():
            raise RequestError(
                HTTPStatus.NOT_IMPLEMENTED, "Parquet needs pyarrow, which this gateway lacks: ask for csv or jsonl"
            )
        with self._place(person) as held:
            # Before the answer begins: what goes wrong here still has a status of its own.
            first = await self._ledger.run(results_page, job_id, search.order, search.wanted, limit=PAGE)
            content = self._results(held.pop_all(), job_id, search, kind, first)
        return StreamingResponse(
            content,
            media_type=MEDIA[kind],
            headers={"Content-Disposition": f"attachment; filename=job-{job_id}.{kind}"},
        )

    async def reports(self, person: Person, user_id: int | None) -> StreamingResponse:
        """Answer with the reports of a person (None: everybody's) as CSV."""
        with self._place(person) as held:
            first = await self._ledger.run(list_reports, user_id, limit=PAGE)
            content = self._reports(held.pop_all(), user_id, first)
        return StreamingResponse(
            content,
            media_type=MEDIA[ExportFormat.CSV],
            headers={"Content-Disposition": "attachment; filename=reports.csv"},
        )

    def _place(self, person: Person) -> ExitStack:
        """Take a place, or raise Busy; an answer that nobody reads gives it back when it is dropped."""
        held = ExitStack()
        held.enter_context(self._places.hold(person.id))
        return held

    async def _results(
        self, held: ExitStack, job_id: int, search: ResultsSearch, kind: ExportFormat, page: ResultsPage
    ) -> AsyncIterator[bytes]:
        with held:
            writer = await asyncio.to_thread(results_writer, kind, group_rows=GROUP_ROWS)
            while True:
                if made := await asyncio.to_thread(writer.page, [found.result for found in page.rows]):
                    yield made
                if page.next is None:
                    break
                page = await self._ledger.run(
                    results_page, job_id, search.order, search.wanted, after=page.next, limit=PAGE
                )
            if made := await asyncio.to_thread(writer.end):
                yield made

    async def _reports(self, held: ExitStack, user_id: int | None, page: list[Report]) -> AsyncIterator[bytes]:
        with held:
            yield csv_lines([REPORT_COLUMNS])
            while page:
                yield csv_lines(_cells(row) for row in page)
                page = await self._ledger.run(list_reports, user_id, before_id=page[-1].id, limit=PAGE)


def _cells(row: Report) -> list[object]:
    return [
        row.created.isoformat(sep=" ", timespec="milliseconds") if column == "created" else getattr(row, column)
        for column in REPORT_COLUMNS
    ]
