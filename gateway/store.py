"""The place in S3 where dropped pictures are kept, one object a person and content; archives stand beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from sluice.errors import ConfigurationError, SourceError
from sluice.objects.aws import AWS_ERRORS
from sluice.objects.clients import BucketClients
from sluice.objects.entries import bare
from sluice.objects.files import split
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

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
        name = key.decode()
        with self._clients.used():
            _, fast = await self._open()
            if fast is None:
                answer = await self.call(
                    lambda client: client.put_object(Bucket=self.bucket, Key=name, Body=data), name
                )
                return bare(answer["ETag"])
            try:
                return bare((await obstore.put_async(fast, name, data))["e_tag"])
            except (*AWS_ERRORS, BaseError) as error:
                raise self._unwritable(name, error) from error

    async def call(self, work: Callable[[S3Client], T], key: str) -> T:
        """Call `work(client)` in a thread; SourceError says what keeps `key` from being written."""
        loop = asyncio.get_running_loop()
        with self._clients.used():
            client, _ = await self._open()
            try:
                return await loop.run_in_executor(self._clients.threads, work, client)
            except AWS_ERRORS as error:
                raise self._unwritable(key, error) from error

    def close(self) -> None:
        """Let go of the connections."""
        self._clients.close()

    async def _open(self) -> tuple[S3Client, S3Store | None]:
        """Return the clients; only the first use has to wait for a thread to make them."""
        if self._clients.opened is not None:
            return self._clients.opened
        return await asyncio.get_running_loop().run_in_executor(self._clients.threads, self._clients.open)

    def _unwritable(self, key: str, error: Exception) -> SourceError:
        return SourceError(
            f"s3://{self.bucket}/{key} can't be written: {error}: check SLUICE_GATEWAY_STORE, its bucket and this "
            "process's right to write there"
        )
