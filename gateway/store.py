"""The place in S3 where dropped pictures are kept, one object a person and content."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import obstore
from obstore.exceptions import BaseError

from sluice.errors import ConfigurationError, SourceError
from sluice.objects import Bucket
from sluice.objects.aws import AWS_ERRORS
from sluice.objects.clients import BucketClients
from sluice.objects.entries import bare
from sluice.objects.files import split
from sluice.settings import Settings

PICTURES: Final = "pictures"
ARCHIVES: Final = "archives"


class PictureStore:
    """What is under SLUICE_GATEWAY_STORE; many requests may use it at once."""

    def __init__(self, settings: Settings) -> None:
        if not settings.gateway_store:
            raise ConfigurationError(
                "there is no place for dropped pictures: set SLUICE_GATEWAY_STORE=s3://bucket/prefix/ (the bucket must "
                "be there)"
            )
        self.bucket, prefix = split(settings.gateway_store)
        self._prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        self._clients = BucketClients(self.bucket, settings)
        self._reader = Bucket(self.bucket, self._prefix, settings)

    def picture_key(self, user_id: int, sha256: bytes) -> bytes:
        """Return the key of a person's picture."""
        return f"{self._prefix}{PICTURES}/{user_id}/{sha256.hex()}".encode()

    def pictures_of(self, user_id: int) -> str:
        """Return the source of a person's standing jobs."""
        return f"s3://{self.bucket}/{self._prefix}{PICTURES}/{user_id}/"

    def archive_key(self, upload_id: str, name: str) -> str:
        """Return the key of an uploaded archive, whose name stays in it for people who look at results."""
        return f"{self._prefix}{ARCHIVES}/{upload_id}/{name}"

    async def put(self, key: bytes, data: bytes) -> str:
        """Keep a picture; return its ETag."""
        loop = asyncio.get_running_loop()
        with self._clients.used():
            client, fast = await loop.run_in_executor(self._clients.threads, self._clients.open)
            try:
                if fast is not None:
                    return bare((await obstore.put_async(fast, key.decode(), data))["e_tag"])
                put = partial(client.put_object, Bucket=self.bucket, Key=key.decode(), Body=data)
                return bare((await loop.run_in_executor(self._clients.threads, put))["ETag"])
            except (*AWS_ERRORS, BaseError, OSError) as error:
                raise SourceError(
                    f"s3://{self.bucket}/{key.decode()} can't be written: {error}: check SLUICE_GATEWAY_STORE, its "
                    "bucket and this process's right to write there"
                ) from error

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Return a kept picture, the very bytes that were put, or raise an ObjectError."""
        return await self._reader.read(key, etag, limit)

    def close(self) -> None:
        """Let go of the connections."""
        self._clients.close()
        self._reader.close()
