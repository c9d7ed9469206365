"""From the bytes of a dropped picture to a row: known answer or decode, predict and keep, then one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.admission import Admission
from gateway.ledgers import LedgerPool
from gateway.live_models import UsableModel
from gateway.predictor import Predictor
from gateway.recorder import Recorder
from gateway.remedies import remedy_of
from gateway.store import PictureStore
from sluice.domain import Reason
from sluice.drift import PictureMeasures
from sluice.drift.measuring import measure
from sluice.errors import ImageError
from sluice.images import decode_sized
from sluice.ledger import pictures
from sluice.ledger.pictures import KnownPicture, Picture, Top
from sluice.settings import Settings
from sluice.telemetry import metrics

REMEMBERED: Final = 10_000
PUTS: Final = 16
"""Pictures that are put into the store at once: a burst opens no more connections."""

DecodedPicture = tuple[NDArray[np.uint8], PictureMeasures]


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


@dataclass(frozen=True, slots=True)
class IncomingPicture:
    """A picture at work: whose it is, which model it is for, and the key under which it is kept."""

    user_id: int
    usable: UsableModel
    dropped: DroppedPicture
    sha256: bytes
    key: bytes

    @property
    def place(self) -> tuple[int, bytes]:
        """Where its answer is remembered."""
        return self.usable.model.id, self.key


@dataclass(frozen=True, slots=True)
class RememberedPicture:
    """A picture that this process has recorded: its answer, its object, and what it was called last."""

    top: Top
    object_id: int
    name: str


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
        self._puts = asyncio.Semaphore(PUTS)
        self._remembered: OrderedDict[tuple[int, bytes], RememberedPicture] = OrderedDict()

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
        incoming = IncomingPicture(user_id, usable, dropped, sha256, self._store.picture_key(user_id, sha256))
        outcome = Classified(dropped.name, digest.hexdigest(), f"{model.name}@{model.version}", 0.0)
        try:
            top, object_id, cached = await self._answer(incoming)
        except ImageError as error:
            seconds = time.perf_counter() - began
            return replace(outcome, seconds=seconds, reason=error.reason, detail=error.detail)
        seconds = time.perf_counter() - began
        return replace(outcome, seconds=seconds, object_id=object_id, top=top, cached=cached)

    async def _answer(self, incoming: IncomingPicture) -> tuple[Top, int, bool]:
        """Return a picture's classes, its object, and whether the classes were known."""
        known = self._remembered.get(incoming.place)
        if known is not None and await self._is_named(incoming, known):
            self._remember(incoming, known.top, known.object_id)
            metrics.CACHED.inc()
            return known.top, known.object_id, True
        # Decoded while the ledger is asked: nearly every picture that isn't remembered is new.
        decoding = self._decode(incoming)
        try:
            found = await self._recall(incoming)
            if found.top is not None:
                metrics.CACHED.inc()
                top = found.top
                object_id = await self._record_again(incoming, found, top)
            else:
                top, etag, measures = await self._infer(incoming, decoding)
                object_id = await self._record(incoming, found, top, etag, measures)
        finally:
            decoding.cancel()
        self._remember(incoming, top, object_id)
        return top, object_id, found.top is not None

    def _decode(self, incoming: IncomingPicture) -> asyncio.Future[DecodedPicture]:
        """Begin to decode, at once: it takes the longest of what comes before the inference."""
        started = time.perf_counter()

        def note(decoding: asyncio.Future[DecodedPicture]) -> None:
            _look_at(decoding)
            if not decoding.cancelled() and decoding.exception() is None:
                metrics.DECODED.inc()
                metrics.STAGE_SECONDS.labels(stage="decode").observe(time.perf_counter() - started)

        decoding = asyncio.get_running_loop().run_in_executor(
            self._threads, _decoded, incoming, self._settings.image_max_pixels
        )
        decoding.add_done_callback(note)
        return decoding

    async def _infer(
        self, incoming: IncomingPicture, decoding: asyncio.Future[DecodedPicture]
    ) -> tuple[Top, str, PictureMeasures]:
        """Have TorchServe answer; return the classes, the ETag of the bytes that are kept, and what was measured."""
        model = incoming.usable.model
        if decoding.done() or not self._predictor.is_ready:
            await decoding  # most of what is no picture is known by now, and isn't kept
        # Kept while it is decoded and waits for its answer: of one that is broken, or that the model refuses, the bytes
        # may stay behind, without a row.
        put = asyncio.ensure_future(self._put(incoming))
        put.add_done_callback(_look_at)
        try:
            pixels, measures = await decoding
            answer = await self._predictor.predict(model, pixels)
        except BaseException:
            put.cancel()
            raise
        etag = await put
        metrics.INFERRED.inc()
        return tuple((model.labels[index], score) for index, score in answer.top), etag, measures

    async def _put(self, incoming: IncomingPicture) -> str:
        async with self._puts:
            return await self._store.put(incoming.key, incoming.dropped.data, incoming.sha256)

    async def _recall(self, incoming: IncomingPicture) -> KnownPicture:
        return await self._ledger.run(
            pictures.recall,
            incoming.user_id,
            incoming.usable.model.id,
            incoming.sha256,
            self._store.source,
            incoming.key,
            self._settings.gateway_answers_days,
        )

    async def _record(
        self,
        incoming: IncomingPicture,
        known: KnownPicture,
        top: Top,
        etag: str,
        measures: PictureMeasures | None = None,
    ) -> int:
        return await self._recorder.record(
            Picture(
                user_id=incoming.user_id,
                model_id=incoming.usable.model.id,
                source=self._store.source,
                key=incoming.key,
                etag=etag,
                size=len(incoming.dropped.data),
                sha256=incoming.sha256,
                name=incoming.dropped.name,
                top=top,
                gateway=self._settings.name,
                measures=measures,
                job_id=known.job_id,
            )
        )

    async def _record_again(self, incoming: IncomingPicture, known: KnownPicture, top: Top) -> int:
        """Return the object of a picture whose answer is known: the person's own, if it is still stored."""
        if known.object_id is not None and await self._rename(known.object_id, incoming):
            return known.object_id
        return await self._record(incoming, known, top, await self._put(incoming))

    async def _is_named(self, incoming: IncomingPicture, known: RememberedPicture) -> bool:
        """Return whether a remembered picture is stored under the name that it comes with.

        Programs of small services ask for the last picture of a name: for them it is noted again each time.
        """
        if known.name == incoming.dropped.name and not self._settings.gateway_classic:
            return True
        return await self._rename(known.object_id, incoming)

    async def _rename(self, object_id: int, incoming: IncomingPicture) -> bool:
        return await self._ledger.run(pictures.rename, object_id, incoming.dropped.name)

    def _remember(self, incoming: IncomingPicture, top: Top, object_id: int) -> None:
        place = incoming.place
        self._remembered[place] = RememberedPicture(top, object_id, incoming.dropped.name)
        self._remembered.move_to_end(place)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)


def _decoded(incoming: IncomingPicture, max_pixels: int) -> DecodedPicture:
    """Decode and measure a picture, in a thread."""
    data = incoming.dropped.data
    pixels, size = decode_sized(data, incoming.usable.preprocessing, max_pixels)
    return pixels, measure(pixels, size)


def _look_at(future: asyncio.Future[Any]) -> None:
    """Look at the error of what nobody waits for any more, or asyncio would log it."""
    if not future.cancelled():
        future.exception()
