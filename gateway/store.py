"""The place in S3 where dropped pictures are kept, one object a person and content; archives stand beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import BaseError

from gateway.shelves import shelf_of
from sluice.errors import ConfigurationError, SourceError
from sluice.objects.aws import AWS_ERRORS
from sluice.objects.clients import BucketClients, OpenClients
from sluice.objects.entries import bare
from sluice.objects.files import split
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")
Clock = Callable[[], datetime]

PICTURES: Final = "pictures"
ARCHIVES: Final = "archives"
LISTED: Final = "listed"
PAGE: Final = 1000
"""Keys that S3 lists, or removes, at once."""
MOST_SHELVES: Final = 10 * PAGE
now: Clock = partial(datetime.now, UTC)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What lies in the store: `place` is its key below the store's prefix."""

    key: str
    place: tuple[str, ...]
    modified: datetime


@dataclass(frozen=True, slots=True)
class StorePage:
    """What one listing told of a folder; behind the key `after` there is more, if it isn't empty."""

    objects: list[StoredObject]
    after: str


class PictureStore:
    """What is under SLUICE_GATEWAY_STORE; many requests may use it at once."""

    def __init__(self, settings: Settings, clock: Clock = now) -> None:
        if not settings.gateway_store:
            raise ConfigurationError(
                "there is no place for dropped pictures: set SLUICE_GATEWAY_STORE=s3://bucket/prefix/ (the bucket must "
                "be there)"
            )
        self.bucket, prefix = split(settings.gateway_store)
        self._prefix = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
        self._clients = BucketClients(self.bucket, settings)
        self._keep_days = settings.gateway_keep_days
        self._clock = clock

    @property
    def source(self) -> str:
        """Return the source of the jobs that stand for dropped pictures."""
        return f"s3://{self.bucket}/{self._prefix}{PICTURES}/"

    def picture_key(self, user_id: int, sha256: bytes) -> bytes:
        """Return the key under which a person's picture is kept if it is dropped now."""
        shelf = shelf_of(self._clock().date(), self._keep_days)
        return f"{self._prefix}{PICTURES}/{shelf}/{user_id}/{sha256.hex()}".encode()

    def archive_key(self, upload_id: str, name: str) -> str:
        """Return the key of an uploaded archive, whose name stays in it for people who look at results."""
        return f"{self._prefix}{ARCHIVES}/{upload_id}/{name}"

    async def put(self, key: bytes, data: bytes, sha256: bytes) -> str:
        """Keep a picture, whose digest is `sha256`; return its ETag."""
        name = key.decode()
        with self._clients.reads.used():
            opened = await self._open()
            if opened.direct is not None:
                with contextlib.suppress(ConfigurationError, *AWS_ERRORS):  # its keys can't be renewed
                    etag = await opened.direct.put(name, data, sha256, self._clients.threads)
                    if etag is not None:
                        return etag
            # What went wrong is told by the others.
            fast = opened.store
            if fast is None:
                answer = await self.call(
                    lambda client: client.put_object(Bucket=self.bucket, Key=name, Body=data), name
                )
                return bare(answer["ETag"])
            try:
                return bare((await obstore.put_async(fast, name, data))["e_tag"])
            except (*AWS_ERRORS, BaseError) as error:
                raise self._refused(name, "written", error) from error

    async def call(self, work: Callable[[S3Client], T], key: str, done: str = "written") -> T:
        """Call `work(client)` in a thread; SourceError says why `key` can't be `done`: written, listed."""
        loop = asyncio.get_running_loop()
        with self._clients.reads.used():
            client = (await self._open()).boto
            try:
                return await loop.run_in_executor(self._clients.threads, work, client)
            except AWS_ERRORS as error:
                raise self._refused(key, done, error) from error

    async def ask(self) -> None:
        """Raise SourceError unless the bucket answers and lets this process list it."""
        await self.page(PICTURES, most=1)

    async def shelves(self) -> list[str]:
        """Return the names of the shelves that have pictures."""
        prefix = f"{self._prefix}{PICTURES}/"

        def work(client: S3Client) -> list[str]:
            found: list[str] = []
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/", PaginationConfig={"MaxItems": MOST_SHELVES}
            )
            for page in pages:
                found += [each["Prefix"].removeprefix(prefix).rstrip("/") for each in page.get("CommonPrefixes", [])]
            return found

        return await self.call(work, prefix, LISTED)

    async def page(self, *folder: str, after: str = "", most: int = PAGE) -> StorePage:
        """Return what lies in a folder of the store, by key: at most `most` of it, behind the key `after`.

        A server may tell of less, and still have more.
        """
        prefix = self._prefix + "".join(f"{part}/" for part in folder)
        answer = await self.call(
            lambda client: client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after, MaxKeys=most),
            prefix,
            LISTED,
        )
        objects = [
            StoredObject(
                each["Key"],
                tuple(each["Key"].removeprefix(self._prefix).split("/")),
                # Sluice's clients leave time stamps as they stand.
                datetime.fromisoformat(str(each["LastModified"])),
            )
            for each in answer.get("Contents", [])
        ]
        return StorePage(objects, objects[-1].key if objects and answer.get("IsTruncated") else "")

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove at most a page of objects; those that aren't there are well too."""
        if not keys:
            return
        answer = await self.call(
            lambda client: client.delete_objects(
                Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            ),
            keys[0],
            "removed",
        )
        for error in answer.get("Errors", []):
            raise SourceError(
                f"s3://{self.bucket}/{error.get('Key')} can't be removed: {error.get('Code')}, "
                f"{error.get('Message')}: check this process's right to delete there"
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._clients.close()

    async def _open(self) -> OpenClients:
        """Return the clients; only the first use has to wait for a thread to make them."""
        if self._clients.opened is not None:
            return self._clients.opened
        return await asyncio.get_running_loop().run_in_executor(self._clients.threads, self._clients.open)

    def _refused(self, key: str, done: str, error: Exception) -> SourceError:
        return SourceError(
            f"s3://{self.bucket}/{key} can't be {done}: {error}: check SLUICE_GATEWAY_STORE, that its bucket is there, "
            "and this process's rights to it"
        )
