"""A local folder as a source: keys are paths inside it, an ETag is the modification time and the size."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sluice.domain import ListedObject, Reason
from sluice.errors import ObjectError, ReadRefused, SourceError, SourceMissing
from sluice.objects.entries import make_entry
from sluice.objects.source import ObjectChanged

PAGE = 1000


class Folder:
    """Reads regular files below a folder. Follows links to files inside the folder, never out of it.

    Other links are left out of listings; `on_links` is called with their number at the end of a listing.
    """

    def __init__(self, root: Path, on_links: Callable[[int], None] = lambda _: None) -> None:
        self._shown = root
        self._on_links = on_links
        self._root = os.fsencode(os.path.realpath(root))

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        """Walk in key order, which is the byte order of whole paths."""
        if not os.path.isdir(self._root):  # noqa: PTH112 - keys are bytes, which pathlib does not take
            raise SourceMissing(f"{self._shown} isn't a folder on this machine: correct the job's source")
        page: list[ListedObject] = []
        links = 0
        for key in self._keys(b"", after):
            found = self._stat(key)
            if found is None:
                links += os.path.islink(os.path.join(self._root, key))  # noqa: PTH114, PTH118 - bytes
                continue
            page.append(make_entry(key, _etag(found), found.st_size, is_text=False))
            if len(page) == PAGE:
                yield page
                page = []
        if links:
            self._on_links(links)
        yield page

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Read in a thread; the file is compared with its ETag before and after."""
        return await asyncio.to_thread(self._read, key, etag, limit, None)

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Read a part in a thread."""
        return await asyncio.to_thread(self._read, key, etag, length, first)

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Read a part."""
        return self._read(key, etag, length, first)

    async def head(self, key: bytes) -> ListedObject:
        """Return what the file is now."""
        return await asyncio.to_thread(self.head_now, key)

    def url(self, key: bytes) -> str:
        """Return a file's url for people."""
        return f"file://{self._shown}/{key.decode(errors='backslashreplace')}"

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _keys(self, folder: bytes, after: bytes) -> Iterator[bytes]:
        """Return the paths below `folder` that come after a key."""
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:  # noqa: PTH118 - bytes
                # A folder sorts as its name with the slash that follows in the keys below it.
                names = sorted(e.name + (b"/" if e.is_dir(follow_symlinks=False) else b"") for e in entries)
        except FileNotFoundError:
            return  # deleted during the walk
        except OSError as error:
            shown = f"{self._shown}/{folder.decode(errors='backslashreplace')}".rstrip("/") or "/"
            raise SourceError(f"{shown} can't be listed: {error.strerror}: make it readable") from error
        for name in names:
            key = folder + name
            if name.endswith(b"/"):
                if key > after or after.startswith(key):
                    yield from self._keys(key, after)
            elif key > after:
                yield key

    def _stat(self, key: bytes) -> os.stat_result | None:
        """Return a file's status; None if it is gone, not a regular file, or outside the folder."""
        path = os.path.join(self._root, key)  # noqa: PTH118 - bytes
        try:
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                if not self._inside(path):
                    return None
                found = os.stat(path)  # noqa: PTH116 - bytes
        except OSError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def _inside(self, path: bytes) -> bool:
        return os.path.realpath(path).startswith(self._root.rstrip(b"/") + b"/")

    def head_now(self, key: bytes) -> ListedObject:
        """Return what the file is now."""
        found = self._stat(key)
        if found is None:
            raise self._gone(key)
        return ListedObject(key, _etag(found), found.st_size)

    def _read(self, key: bytes, etag: str, limit: int, first: int | None) -> bytes:
        """Read a whole file, if it has at most `limit` bytes, or `limit` bytes from `first` on."""
        path = os.path.join(self._root, key)  # noqa: PTH118 - bytes
        if not self._inside(path):
            raise self._gone(key)
        try:
            # Non-blocking, so that a pipe in place of the file can't block the thread.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            raise ObjectError(Reason.ACCESS_DENIED, f"{self.url(key)}: {error.strerror}") from error
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise self._gone(key) from error
        except OSError as error:
            raise ReadRefused(f"{self.url(key)} can't be opened: {error.strerror}") from error
        with open(descriptor, "rb", closefd=True) as file:  # noqa: PTH123 - a descriptor
            self._compare(key, etag, os.fstat(descriptor), limit if first is None else None)
            try:
                if first is not None:
                    file.seek(first)
                data = file.read(limit if first is not None else limit + 1)
            except OSError as error:  # also raised if a network disk is absent: not this file's fault
                raise ReadRefused(f"{self.url(key)} can't be read: {error.strerror}") from error
            self._compare(key, etag, os.fstat(descriptor), limit if first is None else None)
        return data

    def _compare(self, key: bytes, etag: str, found: os.stat_result, limit: int | None) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self._gone(key)
        if _etag(found) != etag:
            raise ObjectChanged(ListedObject(key, _etag(found), found.st_size))
        if limit is not None and found.st_size > limit:
            raise ObjectError(Reason.TOO_LARGE, f"{found.st_size} bytes, more than {limit}")

    def _gone(self, key: bytes) -> SourceError:
        if not os.path.isdir(self._root):  # noqa: PTH112 - bytes
            return SourceError(f"{self._shown} is gone: mount it again")
        return ObjectError(Reason.NOT_FOUND, f"{self.url(key)} isn't a file any more")


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns}-{found.st_size}"
