"""Takes an archive in while it comes: two parts in memory at most, then one transaction that makes it a job."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final

from gateway.ledgers import LedgerPool
from gateway.places import Places
from gateway.uploads.body import ArchiveBody
from gateway.uploads.bucket import ArchiveBucket, PartsUpload
from gateway.uploads.names import HEAD_BYTES, archive_name, check_head
from sluice.errors import LedgerError, RequestError, SourceError
from sluice.ledger import LedgerCursor, uploads
from sluice.ledger.uploads import ArchiveUpload, NewUpload
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

MIB: Final = 1024 * 1024
PART_BYTES: Final = 8 * MIB
PARTS_MAX: Final = 10_000
"""S3 takes no more in one object."""
OVERHEAD: Final = 64 * 1024
"""Of a form beside its file."""
MOST: Final = 4
"""Uploads at once; each has two parts in memory."""
MOST_EACH: Final = 2
"""Of one person."""
LONGEST_SECONDS: Final = 3600
RETRY_SECONDS: Final = 10
SWEEP_SECONDS: Final = 3600.0

Beside = Callable[[LedgerCursor, ArchiveUpload], None]
Wanted = Callable[[dict[str, str]], Awaitable[tuple[str, int]]]
"""Returns model and priority by what a form's fields say, or raises an error."""


class ArchiveReceiver:
    """Receives archives, some at once; whatever goes wrong, nothing of them stays."""

    def __init__(self, settings: Settings, bucket: ArchiveBucket, ledger: LedgerPool) -> None:
        self._most_bytes = settings.gateway_archive_bytes
        self._part_bytes = max(PART_BYTES, math.ceil(self._most_bytes / PARTS_MAX))
        self._bucket = bucket
        self._ledger = ledger
        self._places = Places(MOST, "archives are being uploaded", RETRY_SECONDS, MOST_EACH)

    async def run(self) -> None:
        """Drop what dead gateways left, now and every hour, until cancelled."""
        while True:
            try:
                if gone := await self._bucket.sweep():
                    log.info("parts of old uploads were dropped", uploads=gone)
            except SourceError as error:
                log.warning("old uploads can't be looked for", why=str(error))
            await asyncio.sleep(SWEEP_SECONDS)

    async def receive(
        self, user_id: int, body: ArchiveBody, wanted: Wanted, beside: Beside | None = None
    ) -> ArchiveUpload:
        """Stream a request's archive into the bucket and make it a job; return the row of that."""
        try:
            if (body.declared or 0) > self._most_bytes + OVERHEAD:
                raise self._too_large()
            if body.name:
                body.name = archive_name(body.name)
            with self._places.hold(user_id):
                async with asyncio.timeout(LONGEST_SECONDS):
                    return await self._receive(user_id, body, wanted, beside)
        except TimeoutError as error:
            raise RequestError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"it was not there after {LONGEST_SECONDS} s, nothing was kept: send it over a faster connection",
            ) from error
        except RequestError:
            await body.drain()
            raise

    async def _receive(self, user_id: int, body: ArchiveBody, wanted: Wanted, beside: Beside | None) -> ArchiveUpload:
        chunks = body.chunks()
        head = bytearray()
        async for chunk in chunks:
            head += chunk
            if len(head) >= HEAD_BYTES:
                break
        name = archive_name(body.name)
        check_head(name, bytes(head[:HEAD_BYTES]))
        await wanted(body.fields)
        upload_id = secrets.token_hex(16)
        upload = await self._bucket.begin(self._bucket.key(upload_id, name))
        try:
            size = await self._put(upload, head, chunks)
            # Once more: what stands behind the file in a form counts too.
            model, priority = await wanted(body.fields)
            # Asked before there is an object: a ledger that is away leaves nothing behind then.
            await self._ledger.run(uploads.get, upload_id)
            await self._bucket.complete(upload)
        except BaseException:
            await asyncio.shield(self._bucket.abort(upload))
            raise
        new = NewUpload(upload_id, user_id, name, self._bucket.name, upload.key, size, model, priority)
        try:
            return await self._ledger.run(uploads.create, new, beside)
        except LedgerError:
            # Its answer may be lost although the job is there: then the archive is the job's.
            await asyncio.shield(self._remove_unless_known(new))
            raise

    async def _put(self, upload: PartsUpload, head: bytearray, chunks: AsyncIterator[bytes]) -> int:
        """Put what comes, one part while the next one fills; return how many bytes it was."""
        size, number, filling = len(head), 0, head
        sending: asyncio.Task[None] | None = None
        try:
            while True:
                chunk = await anext(chunks, None)
                if chunk is not None:
                    size += len(chunk)
                    if size > self._most_bytes:
                        raise self._too_large()
                    filling += chunk
                    if len(filling) < self._part_bytes:
                        continue
                if sending is not None:
                    await sending
                    sending = None
                if not filling:
                    return size
                number += 1
                part = bytes(memoryview(filling)[: self._part_bytes])
                filling = filling[self._part_bytes :]
                sending = asyncio.create_task(self._bucket.put_part(upload, number, part))
                del part
        finally:
            if sending is not None:
                await asyncio.wait([sending])

    async def _remove_unless_known(self, new: NewUpload) -> None:
        try:
            known = await self._ledger.run(uploads.get, new.id)
        except LedgerError as error:
            log.warning("an archive may be without a job", key=new.key, why=str(error))
            return
        if known is None:
            await self._bucket.remove(new.key)

    def _too_large(self) -> RequestError:
        return RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"an archive may have {self._most_bytes:,} bytes at most: send it in several smaller ones",
        )
