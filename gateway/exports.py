"""Files of rows, streamed while they are made: whatever their size, one page of them is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
        self._places.check(person.id)
        # Before the answer begins: what goes wrong here still has a status of its own.
        first = await self._ledger.run(results_page, job_id, search.order, search.wanted, limit=PAGE)
        return StreamingResponse(
            self._results(person, job_id, search, kind, first),
            media_type=MEDIA[kind],
            headers={"Content-Disposition": f"attachment; filename=job-{job_id}.{kind}"},
        )

    async def reports(self, person: Person, user_id: int | None) -> StreamingResponse:
        """Answer with the reports of a person (None: everybody's) as CSV."""
        self._places.check(person.id)
        first = await self._ledger.run(list_reports, user_id, limit=PAGE)
        return StreamingResponse(
            self._reports(person, user_id, first),
            media_type=MEDIA[ExportFormat.CSV],
            headers={"Content-Disposition": "attachment; filename=reports.csv"},
        )

    async def _results(
        self, person: Person, job_id: int, search: ResultsSearch, kind: ExportFormat, page: ResultsPage
    ) -> AsyncIterator[bytes]:
        with self._places.take(person.id):
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

    async def _reports(self, person: Person, user_id: int | None, page: list[Report]) -> AsyncIterator[bytes]:
        with self._places.take(person.id):
            yield csv_lines([REPORT_COLUMNS])
            while page:
                yield csv_lines(_cells(row) for row in page)
                page = await self._ledger.run(list_reports, user_id, before_id=page[-1].id, limit=PAGE)


def _cells(row: Report) -> list[object]:
    return [
        row.created.isoformat(sep=" ", timespec="milliseconds") if column == "created" else getattr(row, column)
        for column in REPORT_COLUMNS
    ]
