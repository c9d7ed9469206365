"""Pictures for people to look at: decoded and encoded anew, never the bytes that somebody sent."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from PIL import Image

from gateway.places import Places
from sluice.images import decode_whole
from sluice.ledger.shown import ShownPicture
from sluice.objects import Source, open_source
from sluice.settings import Settings

QUALITY: Final = 85
MOST_WAITING: Final = 256
"""A page of results asks for some fifty pictures at once."""
MOST_SOURCES: Final = 16
RETRY_SECONDS: Final = 2
KIND: Final = "image/jpeg"


class PictureViewer:
    """Reads objects where their jobs found them; few at once, since a decoded picture takes memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._turns = asyncio.Semaphore(settings.decode_threads)
        self._places = Places(MOST_WAITING, "pictures are being drawn", RETRY_SECONDS)
        self._threads = ThreadPoolExecutor(settings.decode_threads, "view")

    async def jpeg(self, shown: ShownPicture, longest: int) -> bytes:
        """Return an object's picture, its longest side at most `longest`; ObjectError, ImageError or Busy if not."""
        with self._places.hold():
            async with self._turns:
                return await self.drawn(await self.read(shown), longest)

    async def read(self, shown: ShownPicture) -> bytes:
        """Return an object's bytes, those that its prediction is about."""
        source = self._source(shown.source)
        return await source.read(shown.key, shown.etag, self._settings.object_max_bytes)

    async def drawn(self, data: bytes, longest: int) -> bytes:
        """Return a picture's pixels as a JPEG of this size at most."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _drawn, data, longest, self._settings.image_max_pixels)

    def close(self) -> None:
        """Let go of sources and threads."""
        for source in self._sources.values():
            source.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _source(self, name: str) -> Source:
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = open_source(name, self._settings)
            if len(self._sources) > MOST_SOURCES:
                # Reads that are under way end first; Source.close waits for them.
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(name)
        return source


def _drawn(data: bytes, longest: int, max_pixels: int) -> bytes:
    written = io.BytesIO()
    Image.fromarray(decode_whole(data, longest, max_pixels)).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
