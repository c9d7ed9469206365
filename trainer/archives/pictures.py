"""A person's own pictures, decoded as the model will see them: some to calibrate on, others to measure with."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sluice.errors import BuildError, ConfigurationError, ImageError, ObjectError, SourceError
from sluice.images import Preprocessing, decode

CALIBRATING: Final = 300
MEASURING: Final = 1000
MOST: Final = 2300
"""Pictures that are read at most: each takes 150 KB of memory."""
LISTED_MAX: Final = 1_000_000
BYTES_MAX: Final = 100 * 1024 * 1024
MAX_PIXELS: Final = 100_000_000

Pixels = NDArray[np.uint8]


def read_pictures(source: str, base: Path, preprocessing: Preprocessing) -> tuple[Pixels, Pixels]:
    """Return the pictures to calibrate on and those to measure with, chosen by their names' hashes."""
    try:
        found = _decoded(source, base, preprocessing)
    except (SourceError, ConfigurationError, OSError) as error:
        raise BuildError(f"calibration: pictures: {error}") from error
    if len(found) < CALIBRATING + MEASURING:
        raise BuildError(
            f"calibration: {source} has {len(found)} pictures that can be decoded: {CALIBRATING} are needed to "
            f"calibrate on, and {MEASURING} others to measure with"
        )
    return np.stack(found[:CALIBRATING]), np.stack(found[CALIBRATING:])


def _decoded(source: str, base: Path, preprocessing: Preprocessing) -> list[Pixels]:
    found: list[Pixels] = []
    for data in _from_bucket(source) if source.startswith("s3://") else _from_folder(base / Path(source).expanduser()):
        try:
            found.append(decode(data, preprocessing, MAX_PIXELS))
        except ImageError:
            continue  # a folder has other files too
        if len(found) == MOST:
            break
    return found


def _from_folder(folder: Path) -> Iterator[bytes]:
    if not folder.is_dir():
        raise BuildError(f"calibration: pictures: {folder} isn't a folder")
    files = list(islice((path for path in folder.rglob("*") if path.is_file()), LISTED_MAX))
    for path in sorted(files, key=lambda path: _order(str(path.relative_to(folder)).encode())):
        if path.stat().st_size <= BYTES_MAX:
            yield path.read_bytes()


def _from_bucket(source: str) -> Iterator[bytes]:
    try:
        from sluice.objects import open_source  # noqa: PLC0415 - brings boto3
        from sluice.settings import read_settings  # noqa: PLC0415 - the image of TorchServe has none
    except ImportError as error:
        raise BuildError(f"{source} needs {error.name}, which isn't installed here: name a folder") from error
    with closing(open_source(source, read_settings())) as opened, asyncio.Runner() as runner:
        every = (each for page in opened.list(b"") for each in page if not each.refused)
        for each in sorted(islice(every, LISTED_MAX), key=lambda each: _order(each.key)):
            try:
                yield runner.run(opened.read(each.key, each.etag, BYTES_MAX))
            except ObjectError:
                continue


def _order(name: bytes) -> bytes:
    return hashlib.sha256(name).digest()
