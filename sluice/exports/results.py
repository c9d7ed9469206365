"""A job's results as CSV, JSON lines or Parquet, page by page, so that memory doesn't grow with the job."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

from sluice.exports.cells import csv_lines, json_safe
from sluice.ledger.rows import Result

COLUMNS: Final = ("url", "label", "score", "model", "predicted", "object_id")
GROUP_ROWS: Final = 50_000
"""Rows of a Parquet row group: small groups compress badly."""


class ExportFormat(StrEnum):
    """The file format of exported rows."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class ResultsWriter(Protocol):
    """Turns pages into bytes; the results of all calls, concatenated, are the file."""

    def page(self, rows: Sequence[Result]) -> bytes:
        """Return the bytes that a page adds to the file."""

    def end(self) -> bytes:
        """Return the file's end."""


class CsvResults:
    """CSV with a header line; texts that a spreadsheet would read as a formula are prefixed with '."""

    def __init__(self, shown: Callable[[object], object] = lambda cell: cell) -> None:
        """`shown` is applied to each cell, for a terminal."""
        self._shown = shown
        self._begun = False

    def page(self, rows: Sequence[Result]) -> bytes:
        """Return the rows' lines."""
        return self._head() + csv_lines([self._shown(value) for value in _values(row)] for row in rows)

    def end(self) -> bytes:
        """Return nothing, or the header if there was no row."""
        return self._head()

    def _head(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return csv_lines([COLUMNS])


class JsonLinesResults:
    """A JSON object per line, with the model's whole answer."""

    def page(self, rows: Sequence[Result]) -> bytes:
        """Return the rows' lines."""
        return b"".join(self._line(row) for row in rows)

    def end(self) -> bytes:
        """Return nothing."""
        return b""

    def _line(self, row: Result) -> bytes:
        made: dict[str, Any] = dict(zip(COLUMNS, _values(row), strict=True))
        made["top"] = [{"label": label, "score": score} for label, score in row.top]
        return json_safe(json.dumps(made, ensure_ascii=False)).encode() + b"\n"


class ParquetResults:
    """Parquet; needs pyarrow, which `has_parquet` checks for."""

    def __init__(self, group_rows: int = GROUP_ROWS) -> None:
        import pyarrow as pa  # noqa: PLC0415 - larger than all the rest together
        import pyarrow.parquet as pq  # noqa: PLC0415 - the same

        entry = pa.struct([("label", pa.string()), ("score", pa.float64())])
        self._schema = pa.schema(
            [
                ("url", pa.string()),
                ("label", pa.string()),
                ("score", pa.float64()),
                ("model", pa.string()),
                ("predicted", pa.timestamp("ms")),
                ("object_id", pa.uint64()),
                ("top", pa.list_(entry)),
            ]
        )
        self._table_of = pa.Table.from_pylist
        self._written = io.BytesIO()
        self._sink = pa.PythonFile(self._written, mode="w")
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._group_rows = group_rows
        self._group: list[dict[str, Any]] = []

    def page(self, rows: Sequence[Result]) -> bytes:
        """Return a row group if there are enough rows for one."""
        self._group += [
            {name: getattr(row, name) for name in COLUMNS}
            | {"top": [{"label": label, "score": score} for label, score in row.top]}
            for row in rows
        ]
        if len(self._group) >= self._group_rows:
            self._write()
        return self._taken()

    def end(self) -> bytes:
        """Return the last row group and the footer."""
        if self._group:
            self._write()
        self._writer.close()
        return self._taken()

    def _write(self) -> None:
        self._writer.write_table(self._table_of(self._group, schema=self._schema))
        self._group = []

    def _taken(self) -> bytes:
        """Return the bytes written since the last call. The writer itself counts its position in the file."""
        made = self._written.getvalue()
        self._written.seek(0)
        self._written.truncate()
        return made


def has_parquet() -> bool:
    """Return whether Parquet can be written here."""
    return importlib.util.find_spec("pyarrow") is not None


def results_writer(kind: ExportFormat, *, group_rows: int = GROUP_ROWS) -> ResultsWriter:
    """Return a new writer of this format."""
    if kind is ExportFormat.PARQUET:
        return ParquetResults(group_rows)
    return CsvResults() if kind is ExportFormat.CSV else JsonLinesResults()


def _values(row: Result) -> tuple[str | float | int, ...]:
    return (
        row.url,
        row.label,
        row.score,
        row.model,
        row.predicted.isoformat(sep=" ", timespec="milliseconds"),
        row.object_id,
    )
