"""Features of pictures, computed once for each content and kept in the model store.

They lie there by the first two digits of the content's SHA-256. A picture goes through the network alone, so its
features don't depend on those beside it; on a CPU as many threads as there are cores have one picture each.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from sluice.errors import ImageError, ObjectError, TrainingError
from sluice.images import decode
from sluice.objects.kept import KeptFiles
from sluice.settings import Settings
from trainer.learning.backbone import Backbone
from trainer.pictures.looking import PictureReader, SeenPicture, side_by_side

FOLDER: Final = "_features"
AT_ONCE_ON_GPU: Final = 32
KEPT_MAX: Final = 20_000
"""Features of one file, at most: beyond that those that the training doesn't use are left out."""

Kept = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class FeatureMaker:
    """Makes features with a backbone, or takes them from the store."""

    backbone: Backbone
    store: KeptFiles
    reader: PictureReader
    settings: Settings
    threads: int

    async def features(
        self, pictures: Sequence[SeenPicture], each_done: Callable[[], None], further: Callable[[], None]
    ) -> NDArray[np.float32]:
        """Return the features of pictures, a row each. `further` is called when some more are kept in the store."""
        shelves = defaultdict[str, list[SeenPicture]](list)
        for each in pictures:
            shelves[each.sha256[:2]].append(each)
        found: Kept = {}
        known: OrderedDict[str, Kept] = OrderedDict()
        missing: list[SeenPicture] = []
        for shelf, wanted in sorted(shelves.items()):
            kept = await asyncio.to_thread(self._kept, shelf)
            new = [each for each in wanted if each.sha256 not in kept]
            found |= {each.sha256: kept[each.sha256] for each in wanted if each.sha256 in kept}
            for _ in range(len(wanted) - len(new)):
                each_done()
            if new:
                known[shelf] = kept if len(kept) + len(new) <= KEPT_MAX else {}
                missing += sorted(new, key=lambda each: each.sha256)
        left = {shelf: sum(each.sha256.startswith(shelf) for each in missing) for shelf in known}
        with ThreadPoolExecutor(self.threads, thread_name_prefix="features") as pool:

            async def one(each: SeenPicture) -> tuple[str, NDArray[np.float32]]:
                return each.sha256, await self._feature(each, pool)

            async for sha256, feature in side_by_side(one, missing, self.threads + AT_ONCE_ON_GPU):
                found[sha256] = feature
                shelf = sha256[:2]
                left[shelf] -= 1
                each_done()
                if not left[shelf]:
                    whole = known.pop(shelf) | {each.sha256: found[each.sha256] for each in shelves[shelf]}
                    await asyncio.to_thread(self._keep, shelf, whole)
                    further()
        return np.stack([found[each.sha256] for each in pictures])

    async def _feature(self, each: SeenPicture, pool: ThreadPoolExecutor) -> NDArray[np.float32]:
        try:
            _, data = await self.reader.read(each.picture)
        except ObjectError as error:
            raise TrainingError(
                f"{each.picture.url} changed or vanished while it was learned from ({error.detail}): train again, when "
                f"the pictures stay as they are"
            ) from error

        def compute() -> NDArray[np.float32]:
            pixels = decode(data, self.backbone.preprocessing, self.settings.image_max_pixels)
            made: NDArray[np.float32] = self.backbone.features(pixels[None])[0]
            return made

        try:
            return await asyncio.get_running_loop().run_in_executor(pool, compute)
        except ImageError as error:
            raise TrainingError(f"{each.picture.url} can't be read any more: {error.detail}") from error

    def _key(self, shelf: str) -> str:
        return f"{FOLDER}/{self.backbone.digest[:16]}/{shelf}.safetensors"

    def _kept(self, shelf: str) -> Kept:
        """Return what a file of the store has; one that can't be read is as if it weren't there."""
        data = self.store.get(self._key(shelf))
        if data is None:
            return {}
        try:
            told = safetensors.numpy.load(data)
            digests, features = told["sha256"], told["features"]
        except (SafetensorError, KeyError, ValueError):
            return {}
        if digests.shape != (len(features), 32) or features.shape[1:] != (self.backbone.width,):
            return {}
        return {bytes(digest).hex(): feature for digest, feature in zip(digests, features, strict=True)}

    def _keep(self, shelf: str, kept: Kept) -> None:
        names = sorted(kept)
        digests = np.frombuffer(b"".join(bytes.fromhex(name) for name in names), dtype=np.uint8).reshape(-1, 32)
        features = np.stack([kept[name] for name in names]).astype(np.float32)
        self.store.put(self._key(shelf), safetensors.numpy.save({"sha256": digests, "features": features}))
