"""`sluice upload`: uploads files and folders to a bucket, several at once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from sluice.cli.connect import settings_of_a_person
from sluice.cli.screen import console, counted, safe, warn
from sluice.errors import ConfigurationError, SluiceError

if TYPE_CHECKING:
    from sluice.objects.files import BucketFiles

AT_ONCE: Final = 16
CHUNK: Final = 512
LINE_SECONDS: Final = 5.0
KEY_MAX_BYTES: Final = 1024

EXAMPLES: Final = """\
Examples:

  sluice upload cat.jpg dog.jpg s3://photos/pets/    pets/cat.jpg, ...
  sluice upload ./2024 s3://photos/2024/             all files below ./2024
  sluice upload ./2023 ./2024 s3://photos/           paths must differ

Exit code 3 if the bucket isn't there or can't be written."""


@dataclass(frozen=True, slots=True)
class UploadItem:
    """A file and its key."""

    path: Path
    key: str
    size: int


def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, or folders with all that is in them.")],
    target: Annotated[str, typer.Argument(metavar="S3-URL", help="s3://bucket/ or s3://bucket/prefix/.")],
) -> None:
    """Put files into a bucket, which must be there.

    A file's key is the prefix and its name; for what lies in a folder, the
    prefix and the path inside that folder. What had the key is replaced.
    """
    from sluice.objects import files  # noqa: PLC0415 - brings boto3

    bucket, prefix = files.split(target)
    if prefix and not prefix.endswith("/"):
        raise ConfigurationError(f"{target!r} would begin each name: end it with a slash, {target}/")
    items = find(paths, prefix)
    screen = console(sys.stderr)
    began = time.monotonic()
    with closing(files.BucketFiles(bucket, settings_of_a_person())) as opened:
        _put_all(opened, items, screen)
    megabytes = sum(item.size for item in items) / 1_000_000
    seconds = time.monotonic() - began
    print(f"{counted(len(items), 'file')}, {megabytes:,.1f} MB in {seconds:,.1f} s: {safe(target)}")


def find(paths: Sequence[Path], prefix: str) -> list[UploadItem]:
    """Find the files to upload, and reject names that can't be uploaded before anything is."""
    items = [item for path in paths for item in _below(path, prefix)]
    keys: dict[str, Path] = {}
    for item in items:
        try:
            length = len(item.key.encode())
        except UnicodeEncodeError:
            raise ConfigurationError(f"{str(item.path)!r} isn't UTF-8: rename it") from None
        if length > KEY_MAX_BYTES:
            raise ConfigurationError(f"{item.path}: its key would have {length} bytes, more than {KEY_MAX_BYTES}")
        if (other := keys.setdefault(item.key, item.path)) is not item.path:
            raise ConfigurationError(f"{other} and {item.path} would have one key, {item.key!r}: upload them apart")
    if not items:
        raise ConfigurationError(f"no file is in {', '.join(map(str, paths))}: nothing to upload")
    return items


def _below(path: Path, prefix: str) -> Iterator[UploadItem]:
    from sluice.objects import Folder  # noqa: PLC0415 - brings boto3

    if path.is_file():
        yield UploadItem(path, prefix + path.name, path.stat().st_size)
        return
    if not path.is_dir():
        raise ConfigurationError(f"{path} is neither a file nor a folder: correct the path")

    def tell(links: int) -> None:
        warn(f"{path}: {counted(links, 'link')} left out, which lead out of the folder or to no file")

    for page in Folder(path, tell).list(b""):
        for found in page:
            name = found.key.decode(errors="surrogateescape")
            yield UploadItem(path / name, prefix + name, found.size)


def _put_all(opened: BucketFiles, items: Sequence[UploadItem], screen: Console) -> None:
    finished = 0
    try:
        with ThreadPoolExecutor(AT_ONCE, "upload") as pool, _shown(items, screen) as note:
            for start in range(0, len(items), CHUNK):
                some = items[start : start + CHUNK]
                # The first error ends the loop and cancels uploads that haven't begun.
                for item, _ in zip(some, pool.map(lambda item: opened.upload(item.path, item.key), some), strict=True):
                    finished += 1
                    note(item)
    except (SluiceError, OSError):
        warn(f"{finished:,} of {counted(len(items), 'file')} were uploaded: fix the cause, then run it again")
        raise


@contextmanager
def _shown(items: Sequence[UploadItem], screen: Console) -> Iterator[Callable[[UploadItem], None]]:
    """Show a bar on a terminal, elsewhere a line now and then; yield a function to call for each finished file."""
    if screen.is_terminal:
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=screen, transient=True) as bar:
            task = bar.add_task("", total=sum(item.size for item in items))
            yield lambda item: bar.advance(task, item.size)
        return
    finished, said_at = 0, time.monotonic()

    def note(_: UploadItem) -> None:
        nonlocal finished, said_at
        finished += 1
        if time.monotonic() - said_at >= LINE_SECONDS:
            said_at = time.monotonic()
            screen.print(f"{finished:,} of {counted(len(items), 'file')}")

    yield note
