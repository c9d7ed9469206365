"""What somebody says a picture shows: url and label, one by one or as a CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

from sluice.domain.model import LABEL_MAX
from sluice.errors import ConfigurationError

URL_MAX: Final = 2400
DELIMITERS: Final = (",", ";", "\t")
HEADER: Final = ("url", "label")
SCHEMES: Final = ("s3://", "file:///")


def check_label(url: object, label: object) -> tuple[str, str]:
    """Return a picture's url and its label as they are stored, or raise an error that says what is wrong."""
    if not isinstance(url, str) or not url.strip():
        raise ConfigurationError(f"{url!r:.200} is no url of a picture: expected s3://bucket/key or file:///path")
    if not isinstance(label, str) or not label.strip():
        raise ConfigurationError(f"{url:.200} has no label: each picture needs one")
    url, label = url.strip(), label.strip()
    if len(url) > URL_MAX:
        raise ConfigurationError(f"{url:.100}… has {len(url)} characters: {URL_MAX} are kept")
    if len(label) > LABEL_MAX or not label.isprintable():
        raise ConfigurationError(f"{label!r:.100} can't be a label: at most {LABEL_MAX} characters that can be shown")
    return url, label


def read_csv(text: str, what: str, base: str) -> list[tuple[str, str]]:
    """Return the rows of a CSV, urls made whole with `base`; ConfigurationError says what is wrong with it."""
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    rows = list[tuple[str, str]]()
    columns: tuple[int, int] = (0, 1)
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), 1):
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not rows and number == 1 and _is_header(cells):
                columns = _columns(cells, what)
                continue
            if len(cells) <= max(columns):
                raise ConfigurationError(
                    f"{what}, line {number}: {len(cells)} columns: expected url and label, as in s3://bucket/1.jpg,cat"
                )
            url, label = cells[columns[0]], cells[columns[1]]
            if "\0" in url:
                raise ConfigurationError(f"{what}, line {number}: a url can't contain NUL")
            rows.append((url if url.startswith(SCHEMES) or "://" in url or not url else base + url.lstrip("/"), label))
    except csv.Error as error:
        raise ConfigurationError(
            f"{what} is no CSV that can be read: {error}: quotation marks must come in pairs"
        ) from error
    if not rows:
        raise ConfigurationError(f"{what} names no picture: write a line `url,label` for each")
    return rows


def _is_header(cells: Sequence[str]) -> bool:
    lower = [cell.lower() for cell in cells]
    return any(name in lower for name in HEADER) and not any(cell.startswith(SCHEMES) for cell in lower)


def _columns(cells: Sequence[str], what: str) -> tuple[int, int]:
    lower = [cell.lower() for cell in cells]
    missing = [name for name in HEADER if name not in lower]
    if missing:
        raise ConfigurationError(
            f"{what} has no column {missing[0]}, only {', '.join(cells)}: name its columns url and label"
        )
    return lower.index("url"), lower.index("label")
