"""Rows as files for other programs: CSV, JSON lines, Parquet. Used by the command line and the gateway."""

from sluice.exports.cells import csv_lines, disarmed, json_safe
from sluice.exports.results import (
    CsvResults,
    ExportFormat,
    JsonLinesResults,
    ParquetResults,
    ResultsWriter,
    has_parquet,
    results_writer,
)

__all__ = [
    "CsvResults",
    "ExportFormat",
    "JsonLinesResults",
    "ParquetResults",
    "ResultsWriter",
    "csv_lines",
    "disarmed",
    "has_parquet",
    "json_safe",
    "results_writer",
]
