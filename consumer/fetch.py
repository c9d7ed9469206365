"""The stage that reads objects that were sent as references; those sent with their bytes skip it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from consumer.held import HeldObject
from consumer.pipeline import Pipeline
from sluice.backoff import wait_after
from sluice.domain import ReadFailure
from sluice.errors import ConfigurationError, ObjectError, ReadRefused, SourceError
from sluice.objects import Source, open_source
from sluice.settings import Settings
from sluice.telemetry import get_logger, metrics

log = get_logger()

SOURCES_OPEN: Final = 16
ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = (1.0, 10.0)


class FetchStage:
    """Reads references from their sources, several at once."""

    def __init__(self, settings: Settings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._sources: OrderedDict[str, Source] = OrderedDict()

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.fetch_concurrency):
                group.create_task(self._keep_reading())

    async def _keep_reading(self) -> None:
        while True:
            (held,) = await self._pipeline.received.take(1)
            self._pipeline.under_way += 1
            if await self.read(held):
                self._pipeline.fetched.put_now([held])
            self._pipeline.under_way -= 1

    async def read(self, held: HeldObject) -> bool:
        """Read one object's bytes; False: they can't be read, and the object is finished."""
        item = held.item
        held.weight = min(item.size, self._settings.object_max_bytes)
        await self._pipeline.budget.reserve(held.weight)
        try:
            with metrics.STAGE_SECONDS.labels(stage="fetch").time():
                held.data = await self._read(held)
        except ObjectError as error:
            held.fault = (error.reason, error.detail)
            self._pipeline.in_flight.fail([held])
        except ReadRefused as error:
            # Only the producer knows whether other objects of the source can be read.
            held.fault = (ReadFailure.STORAGE_ERROR, str(error))
            self._pipeline.in_flight.fail([held])
        except (SourceError, ConfigurationError) as error:
            log.warning("a source can't be read", source=item.source, why=str(error))
            self._pipeline.in_flight.give_back([held])
        # Its real size, not the listed one.
        self._pipeline.budget.release(held.weight)
        held.weight = len(held.data or b"")
        self._pipeline.budget.add(held.weight)
        return not held.is_over

    async def _read(self, held: HeldObject) -> bytes:
        """Read, and retry if the source as a whole fails, which may be temporary."""
        item = held.item
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._source(item.source).read(item.key, item.etag, self._settings.object_max_bytes)
            except ObjectError:
                raise
            except SourceError:
                if attempt == ATTEMPTS or held.lessor.is_lost:
                    raise
            await asyncio.sleep(wait_after(attempt, *PAUSE_SECONDS))
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _source(self, name: str) -> Source:
        """Return the open source of this name; open it if necessary, and close the least recently used one."""
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = open_source(name, self._settings)
            if len(self._sources) > SOURCES_OPEN:
                self._sources.popitem(last=False)[1].close()
        self._sources.move_to_end(name)
        return source

    def close(self) -> None:
        """Close the sources."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
