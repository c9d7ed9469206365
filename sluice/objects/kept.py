"""Small files that a process keeps below a url, in a bucket or a folder: checkpoints, features, pictures."""

from __future__ import annotations

import datetime as dt
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sluice.domain import check_source
from sluice.errors import SourceError
from sluice.objects.files import SCHEME, BucketFiles, split
from sluice.objects.whole_files import path_of, written_whole
from sluice.settings import Settings


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the store."""

    key: str
    size: int
    modified: dt.datetime


class KeptFiles:
    """What is below s3://bucket/prefix/ or file:///folder/. A file is there whole, or not at all."""

    def __init__(self, url: str, settings: Settings) -> None:
        """Opens nothing yet."""
        self._url = check_source(url).rstrip("/") + "/"
        self._bucket: BucketFiles | None = None
        self._folder = Path()
        self._prefix = ""
        if self._url.startswith(SCHEME):
            bucket, self._prefix = split(self._url)
            self._bucket = BucketFiles(bucket, settings)
        else:
            self._folder = path_of(self._url)

    def url(self, key: str) -> str:
        """Return where a file lies, or will lie."""
        return f"{self._url}{key}"

    def get(self, key: str) -> bytes | None:
        """Return a file's bytes; None if there is none."""
        if self._bucket is not None:
            return self._bucket.get(f"{self._prefix}{key}")
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(f"{self.url(key)} can't be read: {error.strerror}") from error

    def put(self, key: str, data: bytes) -> None:
        """Keep bytes; they replace what is there."""
        if self._bucket is not None:
            self._bucket.put(f"{self._prefix}{key}", data)
            return
        try:
            with written_whole(self._folder / key) as part:
                part.write_bytes(data)
        except OSError as error:
            raise SourceError(f"{self.url(key)} can't be written: {error.strerror}: check its folder") from error

    def remove(self, key: str) -> None:
        """Remove a file; does nothing if there is none."""
        if self._bucket is not None:
            self._bucket.remove(f"{self._prefix}{key}")
            return
        try:
            (self._folder / key).unlink(missing_ok=True)
        except OSError as error:
            raise SourceError(f"{self.url(key)} can't be removed: {error.strerror}") from error

    def files(self, folder: str) -> list[KeptFile]:
        """Return all files below a folder, `name/`."""
        if self._bucket is not None:
            listed = self._bucket.files(f"{self._prefix}{folder}")
            return [KeptFile(key.removeprefix(self._prefix), size, modified) for key, size, modified in listed]
        found = []
        try:
            for path in (self._folder / folder).rglob("*"):
                with suppress(FileNotFoundError):  # somebody else removed it meanwhile
                    told = path.lstat()
                    if stat.S_ISREG(told.st_mode):
                        modified = dt.datetime.fromtimestamp(told.st_mtime, dt.UTC)
                        found.append(KeptFile(str(path.relative_to(self._folder)), told.st_size, modified))
        except OSError as error:
            raise SourceError(f"{self.url(folder)} can't be listed: {error.strerror}") from error
        return found

    def close(self) -> None:
        """Close the connections."""
        if self._bucket is not None:
            self._bucket.close()
