"""What a model recognised a picture by, drawn over the square of it that the model saw."""

from __future__ import annotations

import asyncio
import io
from http import HTTPStatus
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gateway.live_models import UsableModel
from gateway.places import Places
from gateway.viewer import QUALITY, PictureViewer
from sluice.errors import Busy, InferenceError, RequestError
from sluice.images import decode, pack
from sluice.inference import Balancer, Explanation, Refusal
from sluice.ledger.shown import ShownPicture
from sluice.settings import Settings

SIDE: Final = 640
AT_ONCE: Final = 2
"""An explanation costs a model more than a prediction does: predictions go first."""
RETRY_SECONDS: Final = 5
STRONGEST: Final = 0.65
"""How much of the photo the loudest part hides."""
# From nothing over yellow to red: told apart by people who see red and green alike, and in print.
COLOURS: Final = np.array([[255, 237, 160], [254, 178, 76], [240, 59, 32], [189, 0, 38]], np.float32)


class Explainer:
    """Asks TorchServe for explanations, a few at once."""

    def __init__(self, settings: Settings, balancer: Balancer, viewer: PictureViewer) -> None:
        self._settings = settings
        self._balancer = balancer
        self._viewer = viewer
        self._places = Places(AT_ONCE, "other pictures are being explained", RETRY_SECONDS)

    async def jpeg(self, shown: ShownPicture, usable: UsableModel) -> bytes:
        """Return the picture as the model saw it, under the heat map; RequestError says why there is none."""
        try:
            with self._places.hold():
                data = await self._viewer.read(shown)
                pixels = await asyncio.to_thread(decode, data, usable.preprocessing, self._settings.image_max_pixels)
                found = await self._balancer.explain(usable.model, pack([pixels]))
        except InferenceError as error:
            raise Busy(f"no explanation can be had for now: {error}", RETRY_SECONDS) from error
        if isinstance(found, Refusal):
            raise RequestError(HTTPStatus.NOT_FOUND, f"{shown.model} can't say why: {found.detail}")
        return await asyncio.to_thread(drawn, pixels, found)


def drawn(pixels: NDArray[np.uint8], found: Explanation) -> bytes:
    """Return the square with what spoke for the class in warm colours, as a JPEG."""
    photo = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    parts = np.frombuffer(found.parts, np.uint8).reshape(found.rows, found.columns)
    heat = np.asarray(Image.fromarray(parts).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255
    places = heat * (len(COLOURS) - 1)
    lower = np.minimum(places.astype(np.int64), len(COLOURS) - 2)
    share = (places - lower)[..., np.newaxis]
    colour = COLOURS[lower] * (1 - share) + COLOURS[lower + 1] * share
    weight = STRONGEST * heat[..., np.newaxis]
    written = io.BytesIO()
    mixed = (photo * (1 - weight) + colour * weight).round().clip(0, 255).astype(np.uint8)
    Image.fromarray(mixed).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
