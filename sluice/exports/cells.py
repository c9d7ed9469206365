"""Untrusted text, made safe for files that other programs open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Controls (C0, DEL, C1), line and paragraph separators, invisible and direction-changing characters, surrogates."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""Characters with which a spreadsheet's formula begins."""


def json_safe(text: str) -> str:
    r"""Escape terminal control characters in JSON text; it stays equivalent JSON."""
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def disarmed(value: object) -> object:
    """Return a cell of a CSV file; text that a spreadsheet would read as a formula is prefixed with '."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as CSV, disarmed."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([disarmed(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")
