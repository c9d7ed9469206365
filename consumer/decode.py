"""The stage that decodes bytes to pixels, in threads: Pillow and hashlib release the GIL."""

from __future__ import annotations

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from consumer.held import CandidateAnswer, HeldObject
from consumer.ledger import ConsumerLedger
from consumer.pipeline import Pipeline
from sluice.domain.gates import is_chosen
from sluice.drift.measuring import measure
from sluice.errors import LedgerError
from sluice.images import ImageError, Preprocessing, decode, decode_sized
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

DECODE_SECONDS: Final = metrics.STAGE_SECONDS.labels(stage="decode")
CHUNK: Final = 8
"""Objects that a thread takes at once: handing over costs up to a tenth of decoding one."""
UNREADABLE_MODEL_SECONDS: Final = 1.0
DEATHS_SPARED: Final = 2
SPARED: Final = f"it wasn't asked: {DEATHS_SPARED} consumers died with the object"
UNUSABLE: Final = (
    "model {number} of this job can't be used: `models` has no such row, or one that these consumers don't understand: "
    "register the model again, upgrade the consumers, or cancel the job"
)


class DecodeStage:
    """Decodes objects whose answer isn't cached."""

    def __init__(self, settings: Settings, pipeline: Pipeline, ledger: ConsumerLedger) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._ledger = ledger
        self._preprocessing: dict[int, Preprocessing] = {}
        # One more thread than decoders, so that an object that is processed alone needn't wait for one.
        self._threads = ThreadPoolExecutor(settings.decode_threads + 1, "decode")

    async def run(self) -> None:
        """Decode until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.decode_threads):
                group.create_task(self._keep_decoding())

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _keep_decoding(self) -> None:
        while True:
            # Take few at once while few are waiting, so that all threads have work.
            fair = len(self._pipeline.fetched) // self._settings.decode_threads
            chunk = await self._pipeline.fetched.take(max(1, min(CHUNK, fair)))
            self._pipeline.under_way += len(chunk)
            await self._pass_on(await self.decode(chunk))
            self._pipeline.under_way -= len(chunk)

    async def _pass_on(self, chunk: list[HeldObject]) -> None:
        if failed := [held for held in chunk if held.fault is not None]:
            self._pipeline.in_flight.fail(failed)
        if answered := [held for held in chunk if held.answer is not None and not held.waits]:
            await self._pipeline.pass_on(answered)
        pixels = [held for held in chunk if held.pixels is not None]
        first = [held for held in pixels if held.is_for_canary]
        await self._pipeline.try_out(first)
        if pixels := [held for held in pixels if held not in first]:
            await self._pipeline.decoded.put(pixels)

    async def decode(self, chunk: list[HeldObject], *, alone: bool = False) -> list[HeldObject]:
        """Return the objects that have pixels, a cached answer or a fault; those without a model go back."""
        known: list[HeldObject] = []
        for number in dict.fromkeys(held.item.model for held in chunk):
            known += await self._find_model(number, [held for held in chunk if held.item.model == number])
        if known:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._decode_all, known, alone)
        self._pipeline.budget.release(sum(held.weight for held in chunk))
        return known

    async def _find_model(self, number: int, chunk: list[HeldObject]) -> list[HeldObject]:
        """Set these objects' model, and return them; if there is none, give them back and return an empty list."""
        try:
            model = await self._ledger.model(number)
            for held in chunk:
                held.trial = await self._ledger.trial(held.item.trial) if held.item.trial else None
        except LedgerError as error:
            log.warning("a model can't be read from the ledger", model=number, why=str(error))
            # Wait, because the producer sends them again; without the ledger nothing else continues either.
            await asyncio.sleep(UNREADABLE_MODEL_SECONDS)
            self._pipeline.in_flight.give_back(chunk)
            return []
        if model is None:
            # Its job waits and says why; other jobs' objects continue.
            self._pipeline.in_flight.give_back(chunk, UNUSABLE.format(number=number))
            return []
        if number not in self._preprocessing:
            self._preprocessing[number] = Preprocessing.from_dict(model.preprocessing)
        for held in chunk:
            held.model = model
        return chunk

    def _decode_all(self, chunk: list[HeldObject], alone: bool) -> None:  # noqa: FBT001 - an executor passes no keywords
        """Decode in a thread; must not touch anything except these objects and the cache."""
        for held in chunk:
            started = time.perf_counter()
            data, held.data = held.data or b"", None
            held.sha256 = hashlib.sha256(data).digest()
            if held.trial and is_chosen(held.sha256, held.trial.share):
                known = self._pipeline.cache.known(held.trial.candidate.id, held.sha256)
                # The candidate may be what kills consumers: an object is not quarantined for that.
                failure = SPARED if held.item.deaths >= DEATHS_SPARED else ""
                held.candidate = CandidateAnswer(held.trial, answer=None if failure else known, failure=failure)
            if self._is_known(held, alone=alone):
                metrics.CACHED.inc()
            else:
                try:
                    wanted = self._preprocessing[held.item.model]
                    held.pixels, size = decode_sized(data, wanted, self._settings.image_max_pixels)
                except ImageError as error:
                    held.fault = (error.reason, error.detail)
                    continue
                held.measures = measure(held.pixels, size)
                metrics.DECODED.inc()
                DECODE_SECONDS.observe(time.perf_counter() - started)
            if held.candidate and held.candidate.is_open and not held.waits:
                self._decode_for(held, held.candidate, data)

    def _is_known(self, held: HeldObject, *, alone: bool) -> bool:
        """Set an answer that is known already, or let the object wait for the same bytes; False: it is inferred."""
        if held.candidate and not held.candidate.trial.shadow:
            # Nobody waits for it: the model may never be asked.
            if held.candidate.answer is None:
                return False
            held.answer, held.model = held.candidate.answer, held.candidate.trial.candidate
            return True
        return self._pipeline.cache.recall(held) if alone else self._pipeline.cache.ask(held)

    def _decode_for(self, held: HeldObject, candidate: CandidateAnswer, data: bytes) -> None:
        """Set the pixels that a candidate expects; often they are the model's own."""
        wanted = candidate.trial.preprocessing
        if held.pixels is not None and wanted == self._preprocessing[held.item.model]:
            candidate.pixels = held.pixels
            return
        try:
            candidate.pixels = decode(data, wanted, self._settings.image_max_pixels)
        except ImageError as error:
            candidate.failure = str(error.detail) or error.reason
