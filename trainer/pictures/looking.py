"""Looks at each picture once: its bytes are digested and decoded, so that all that is wrong is known early.

Nothing of it is kept but the digest and a thumbnail, so a training's size isn't bounded by memory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sluice.domain import Reason
from sluice.errors import ImageError, ObjectError, ReadRefused
from sluice.images import Preprocessing, decode
from sluice.objects import Source, open_source
from sluice.settings import Settings
from trainer.pictures.labelled import LabelledPicture

P = TypeVar("P")
T = TypeVar("T")

THUMB_SIDE: Final = 16
THUMB: Final = Preprocessing(THUMB_SIDE, THUMB_SIDE, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
AT_ONCE: Final = 16
TRIES: Final = 3
TRY_SECONDS: Final = 0.5
SOURCES_OPEN: Final = 64
"""Rows may name thousands of archives, of which each has connections and a directory."""


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture that can be decoded: where it lies, at which version, and what its bytes are."""

    picture: LabelledPicture
    sha256: str
    thumb: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class UnreadablePicture:
    """A picture that can't be learned from, and why."""

    url: str
    label: str
    why: str


class PictureReader:
    """Reads pictures' bytes from wherever they lie; the sources that were used last stay open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: OrderedDict[str, Source] = OrderedDict()
        self._reads: Counter[str] = Counter()

    async def read(self, picture: LabelledPicture) -> tuple[LabelledPicture, bytes]:
        """Return a picture's bytes, and the picture with the version that they are of; ObjectError if it has none."""
        with self._used(picture.source) as source:
            for left in reversed(range(TRIES)):
                try:
                    etag = picture.etag or (await source.head(picture.key)).etag
                    data = await source.read(picture.key, etag, self._settings.object_max_bytes)
                except ReadRefused as error:
                    if not left:
                        raise ObjectError(Reason.UNREADABLE, str(error)) from error
                    await asyncio.sleep(TRY_SECONDS)
                else:
                    return replace(picture, etag=etag), data
        raise AssertionError  # the last try returns or raises

    @contextmanager
    def _used(self, name: str) -> Iterator[Source]:
        """Open a source if it isn't, and keep it open while it is read."""
        if name not in self._opened:
            self._opened[name] = open_source(name, self._settings)
        self._opened.move_to_end(name)
        self._reads[name] += 1
        try:
            yield self._opened[name]
        finally:
            self._reads[name] -= 1
            while len(self._opened) > SOURCES_OPEN and (unused := self._unused()) is not None:
                self._opened.pop(unused).close()
                del self._reads[unused]

    def _unused(self) -> str | None:
        return next((name for name in self._opened if not self._reads[name]), None)

    def close(self) -> None:
        """Close the sources."""
        for source in self._opened.values():
            source.close()
        self._opened.clear()


async def look(
    pictures: Sequence[LabelledPicture], reader: PictureReader, settings: Settings, each_done: Callable[[], None]
) -> tuple[list[SeenPicture], list[UnreadablePicture]]:
    """Look at all pictures, in their order."""

    async def one(picture: LabelledPicture) -> SeenPicture | UnreadablePicture:
        try:
            picture, data = await reader.read(picture)
            thumb = await asyncio.to_thread(decode, data, THUMB, settings.image_max_pixels)
        except (ObjectError, ImageError) as error:
            return UnreadablePicture(picture.url, picture.label, error.detail)
        return SeenPicture(picture, hashlib.sha256(data).hexdigest(), thumb)

    seen, unreadable = list[SeenPicture](), list[UnreadablePicture]()
    async for each in side_by_side(one, pictures, AT_ONCE):
        each_done()
        if isinstance(each, SeenPicture):
            seen.append(each)
        else:
            unreadable.append(each)
    return seen, unreadable


async def side_by_side(
    work: Callable[[P], Coroutine[None, None, T]], given: Iterable[P], at_once: int
) -> AsyncIterator[T]:
    """Yield what `work` makes of each, in order, with so many at work at most."""
    tasks = deque[asyncio.Task[T]]()
    try:
        for each in given:
            tasks.append(asyncio.create_task(work(each)))
            if len(tasks) >= at_once:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
