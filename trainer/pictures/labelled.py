"""Pictures and what somebody says they show: labels that are folders' names, a CSV, or rows of url and label."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from sluice.domain import INSIDE, ListedObject, check_label, is_inside, read_csv
from sluice.errors import ConfigurationError, ObjectError, TrainingError
from sluice.objects import open_source
from sluice.settings import Settings

CSV_END: Final = ".csv"
CSV_MAX_BYTES: Final = 64 * 1024 * 1024
NAMED: Final = 3
HIDDEN: Final = (".", "__MACOSX", "Thumbs.db", "desktop.ini")
"""How the names begin that file managers leave behind."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """Where a picture lies, and what it is said to show."""

    url: str
    label: str
    source: str
    key: bytes
    etag: str = ""
    """Empty: not known yet."""
    is_correction: bool = False


@dataclass(slots=True)
class Labels:
    """What labels were found, and what was left out."""

    pictures: list[LabelledPicture] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def named(things: Sequence[str]) -> str:
    """Name some of many for people: 'a, b, c and 4 more'."""
    more = len(things) - NAMED
    return ", ".join(things[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def read_labels_at(source: str, settings: Settings, most: int) -> Labels:
    """Return the pictures of a source with their labels: a CSV, or folders whose names are the labels."""
    if source.lower().endswith(CSV_END):
        return _from_csv(source, settings, most)
    return _from_folders(source, settings, most)


def from_rows(rows: Iterable[tuple[str, str]], what: str) -> Labels:
    """Return the pictures that rows of url and label name."""
    found = Labels()
    for number, (told_url, told_label) in enumerate(rows, 1):
        try:
            url, label = check_label(told_url, told_label)
            source, key = _place(url)
        except ConfigurationError as error:
            raise TrainingError(f"{what}, row {number}: {error}") from error
        found.pictures.append(LabelledPicture(url, label, source, key))
    return found


def _from_folders(source: str, settings: Settings, most: int) -> Labels:
    if not source.endswith("/") and not is_inside(source):
        source += "/"  # else `cats` would mean `cats-and-dogs` too
    found, outside, refused = Labels(), list[str](), list[str]()
    skipped = _length_of_prefix(source)
    with closing(open_source(source, settings)) as opened:
        for page in opened.list(b""):
            for each in page:
                if each.archive_etag:
                    if each.refused:
                        refused.append(opened.url(each.key))
                    continue
                _take(found, outside, refused, each, opened.url(each.key), source, skipped)
            if len(found.pictures) > most:
                raise TrainingError(
                    f"{source} has more than {most:,} pictures: name a smaller prefix, or raise SLUICE_TRAINER_PICTURES"
                )
    if not found.pictures and outside:
        raise TrainingError(
            f"{named(outside)} in {source}: no folder says what they show. Put each picture into a folder that is "
            f"named for its class ({source}cat/1.jpg), or give a CSV of url and label"
        )
    if outside:
        found.findings.append(f"left out, since no folder says what they show: {named(outside)}")
    if refused:
        found.findings.append(f"left out, since they can't be read: {named(refused)}")
    return found


def _take(
    found: Labels, outside: list[str], refused: list[str], each: ListedObject, url: str, source: str, skipped: int
) -> None:
    path = each.key.rpartition(INSIDE.encode())[2] if is_inside(source) else each.key[skipped:]
    parts = path.decode(errors="replace").strip("/").split("/")
    if any(part.startswith(HIDDEN) for part in parts):
        return
    if len(parts) == 1:
        outside.append(url)
    elif each.refused:
        refused.append(url)
    else:
        label = parts[0].strip()
        try:
            check_label(url[:100], label)
        except ConfigurationError as error:
            raise TrainingError(f"{source}: the folder {parts[0]!r:.80}: {error}") from error
        found.pictures.append(LabelledPicture(url, label, source, each.key, each.etag))


def _from_csv(source: str, settings: Settings, most: int) -> Labels:
    try:
        rows = read_csv(_text(source, settings), source, source.rpartition("/")[0] + "/")
    except ConfigurationError as error:
        raise TrainingError(str(error)) from error
    if len(rows) > most:
        raise TrainingError(f"{source} names {len(rows):,} pictures: SLUICE_TRAINER_PICTURES allows {most:,}")
    return from_rows(rows, source)


def _text(source: str, settings: Settings) -> str:
    where, key = _place(source)

    async def read() -> bytes:
        with closing(open_source(where, settings)) as opened:
            listed = await opened.head(key)
            return await opened.read(key, listed.etag, CSV_MAX_BYTES)

    try:
        data = asyncio.run(read())
    except ObjectError as error:
        raise TrainingError(f"{source} can't be read: {error.detail}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrainingError(f"{source} isn't UTF-8 (byte {error.start}): save it as UTF-8") from error


def _place(url: str) -> tuple[str, bytes]:
    """Return the source that holds a url's picture, and its key there."""
    archive, inside, _ = url.partition(INSIDE)
    if url.startswith("s3://"):
        bucket, slash, key = url.removeprefix("s3://").partition("/")
        if not bucket or not slash or not key:
            raise ConfigurationError(f"{url!r:.200} names no object: expected s3://bucket/key")
        return (archive if inside else f"s3://{bucket}/"), key.encode(errors="surrogateescape")
    if url.startswith("file:///") and not url.endswith("/"):
        if inside:
            return archive, url.removeprefix(archive.rpartition("/")[0] + "/").encode(errors="surrogateescape")
        return "file:///", url.removeprefix("file:///").encode(errors="surrogateescape")
    raise ConfigurationError(f"{url!r:.200} is no url of a picture: expected s3://bucket/key or file:///path")


def _length_of_prefix(source: str) -> int:
    return len(source.removeprefix("s3://").partition("/")[2].encode()) if source.startswith("s3://") else 0
