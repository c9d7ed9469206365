"""From the bytes of a dropped picture to a row: known answer or decode, predict and keep, then one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from gateway.admission import Admission
from gateway.ledgers import LedgerPool
from gateway.live_models import UsableModel
from gateway.predictor import Predictor
from gateway.recorder import Recorder
from gateway.remedies import remedy_of
from gateway.store import PictureStore
from sluice.domain import Reason
from sluice.errors import ImageError
from sluice.images import decode
from sluice.ledger import pictures
from sluice.ledger.pictures import KnownPicture, Picture, Top
from sluice.settings import Settings
from sluice.telemetry import metrics

REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class DroppedPicture:
    """A picture as somebody sent it."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Classified:
    """What became of a picture: an answer, or the reason why there is none."""

    name: str
    sha256: str
    model: str
    seconds: float
    object_id: int | None = None
    top: Top = ()
    cached: bool = False
    reason: str = ""
    detail: str = ""

    @property
    def remedy(self) -> str:
        """What its sender can do about the reason."""
        return remedy_of(Reason(self.reason)) if self.reason else ""


class Classifier:
    """Classifies pictures for people who wait."""

    def __init__(
        self, settings: Settings, admission: Admission, ledger: LedgerPool, predictor: Predictor, store: PictureStore
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._ledger = ledger
        self._predictor = predictor
        self._recorder = Recorder(ledger)
        self._store = store
        self._threads = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._remembered: OrderedDict[tuple[int, bytes], KnownPicture] = OrderedDict()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._predictor.run())
            group.create_task(self._recorder.run())

    async def classify(self, user_id: int, model: UsableModel, dropped: list[DroppedPicture]) -> list[Classified]:
        """Classify pictures side by side; Busy if that is too much for now, and then none of them is."""
        with self._admission.hold(len(dropped), sum(len(each.data) for each in dropped)):
            # All of them end: what has an answer is recorded, whatever becomes of the others.
            found = await asyncio.gather(
                *(self._classify(user_id, model, each) for each in dropped), return_exceptions=True
            )
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        self._admission.answered(len(dropped))
        return [outcome for outcome in found if isinstance(outcome, Classified)]

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _classify(self, user_id: int, usable: UsableModel, dropped: DroppedPicture) -> Classified:
        began = time.perf_counter()
        model = usable.model
        digest = hashlib.sha256(dropped.data)
        sha256 = digest.digest()
        outcome = Classified(dropped.name, digest.hexdigest(), f"{model.name}@{model.version}", 0.0)
        key = self._store.picture_key(user_id, sha256)
        known = await self._recall(user_id, model.id, sha256, key)
        try:
            top, object_id = await self._answer(user_id, usable, dropped, sha256, key, known)
        except ImageError as error:
            seconds = time.perf_counter() - began
            return replace(outcome, seconds=seconds, reason=error.reason, detail=error.detail)
        seconds = time.perf_counter() - began
        return replace(outcome, seconds=seconds, object_id=object_id, top=top, cached=known.top is not None)

    async def _answer(
        self, user_id: int, usable: UsableModel, dropped: DroppedPicture, sha256: bytes, key: bytes, known: KnownPicture
    ) -> tuple[Top, int]:
        """Return a picture's classes and its object; what is known of it isn't done again."""
        if known.top is not None and known.object_id is not None:
            metrics.CACHED.inc()
            return known.top, known.object_id
        if known.top is not None:
            metrics.CACHED.inc()
            top, etag = known.top, await self._store.put(key, dropped.data)
        else:
            top, etag = await self._infer(usable, dropped.data, key)
        object_id = await self._recorder.record(
            Picture(
                user_id=user_id,
                model_id=usable.model.id,
                source=self._store.source,
                key=key,
                etag=etag,
                size=len(dropped.data),
                sha256=sha256,
                name=dropped.name,
                top=top,
                gateway=self._settings.name,
            )
        )
        self._remember(usable.model.id, key, KnownPicture(top, object_id))
        return top, object_id

    async def _infer(self, usable: UsableModel, data: bytes, key: bytes) -> tuple[Top, str]:
        """Have TorchServe answer while the picture is put in its place; return the classes and the ETag."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        pixels = await loop.run_in_executor(
            self._threads, decode, data, usable.preprocessing, self._settings.image_max_pixels
        )
        metrics.DECODED.inc()
        metrics.STAGE_SECONDS.labels(stage="decode").observe(time.perf_counter() - started)
        # Kept while it waits for its answer: of one that the model refuses the bytes may stay behind, without a row.
        put = asyncio.ensure_future(self._store.put(key, data))
        try:
            answer = await self._predictor.predict(usable.model, pixels)
        except BaseException:
            put.cancel()
            raise
        etag = await put
        metrics.INFERRED.inc()
        return tuple((usable.model.labels[index], score) for index, score in answer.top), etag

    async def _recall(self, user_id: int, model_id: int, sha256: bytes, key: bytes) -> KnownPicture:
        remembered = self._remembered.get((model_id, key))
        if remembered is not None:
            self._remembered.move_to_end((model_id, key))
            return remembered
        found = await self._ledger.run(
            pictures.recall, user_id, model_id, sha256, key, self._settings.gateway_answers_days
        )
        if found.top is not None and found.object_id is not None:
            self._remember(model_id, key, found)
        return found

    def _remember(self, model_id: int, key: bytes, known: KnownPicture) -> None:
        self._remembered[model_id, key] = known
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
