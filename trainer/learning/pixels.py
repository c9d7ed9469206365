"""Pixels of a training's pictures, again and again; their bytes stay in memory as far as a setting allows."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from sluice.errors import ImageError, ObjectError, TrainingError
from sluice.images import Preprocessing, decode
from sluice.settings import Settings
from trainer.pictures.looking import PictureReader, SeenPicture


class PixelSource:
    """Reads and decodes pictures as the network takes them."""

    def __init__(self, reader: PictureReader, preprocessing: Preprocessing, settings: Settings) -> None:
        self._reader = reader
        self._preprocessing = preprocessing
        self._max_pixels = settings.image_max_pixels
        self._room = settings.trainer_bytes
        self._kept: dict[str, bytes] = {}

    async def read(self, each: SeenPicture) -> NDArray[np.uint8]:
        """Return a picture's pixels; TrainingError if it isn't there any more."""
        data = self._kept.get(each.sha256)
        try:
            if data is None:
                _, data = await self._reader.read(each.picture)
                if len(data) <= self._room:
                    self._room -= len(data)
                    self._kept[each.sha256] = data
            return await asyncio.to_thread(decode, data, self._preprocessing, self._max_pixels)
        except (ObjectError, ImageError) as error:
            raise TrainingError(
                f"{each.picture.url} changed or vanished while it was learned from ({error.detail}): train again, when "
                f"the pictures stay as they are"
            ) from error
