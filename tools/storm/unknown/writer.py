"""Writes to the bucket, directly and sequentially, and records each write in the journal before it begins."""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.stack import S3Server, StackError
from tools.storm.unknown.contents import Content, split
from tools.storm.unknown.journal import Journal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

AGAIN_SECONDS: Final = 0.3
GIVE_UP_SECONDS: Final = 180.0
FILLERS: Final = 8
REFUSED: Final = range(400, 500)


class Refused(Exception):
    """Raised when the server doesn't accept a key."""


class Writer:
    """A thread that executes orders, and waits for a server that is away."""

    def __init__(self, server: S3Server, bucket: str, journal: Journal) -> None:
        self._bucket = bucket
        self._journal = journal
        self._client = _client(server)
        self._orders: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self.failure: Exception | None = None
        """The exception that ended the thread."""

    def start(self) -> None:
        """Create the bucket, and execute orders from now on."""
        with suppress(self._client.exceptions.BucketAlreadyOwnedByYou):
            self._client.create_bucket(Bucket=self._bucket)
        self._thread.start()

    def stop(self) -> None:
        """Execute the remaining orders, and end."""
        self._orders.put(None)
        self._thread.join()
        if self.failure:
            raise self.failure

    def fill(self, contents: Iterable[tuple[bytes, Content]]) -> None:
        """Upload many different keys, several at once, before anything else happens."""
        with ThreadPoolExecutor(FILLERS) as pool:
            for done in [pool.submit(self.put, key, content) for key, content in contents]:
                with suppress(Refused):
                    done.result()

    def forget_folded(self) -> None:
        """Forget the keys that the server stores under another name, for example `a//b` as `a/b`."""
        listed = {key.encode() for key in self._list()}
        for key in self._journal.list_keys():
            if key not in listed:
                self._journal.forget(self._journal.of(key)[-1])
        for key in listed - {*self._journal.list_keys()}:
            self._client.delete_object(Bucket=self._bucket, Key=key.decode())

    def order(self, act: Callable[[], object]) -> None:
        """Queue an action for the thread."""
        self._orders.put(act)

    @property
    def waiting(self) -> int:
        """Return the number of orders that aren't begun."""
        return self._orders.qsize()

    def put(self, key: bytes, content: Content, *, parts: bool = False) -> None:
        """Write a version; retry until the server acknowledges it."""
        whole = hashlib.md5(content.data, usedforsecurity=False)
        pieces = split(content.data)
        if parts:
            digests = b"".join(hashlib.md5(piece, usedforsecurity=False).digest() for piece in pieces)
            etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(pieces)}"
        else:
            etag = whole.hexdigest()
        writing = self._journal.begin(key, content, etag)
        name = key.decode()
        try:
            answered = self._surely(
                lambda: (
                    self._put_parts(name, pieces)
                    if parts
                    else self._client.put_object(Bucket=self._bucket, Key=name, Body=content.data)["ETag"]
                )
            )
        except Refused:
            self._journal.forget(writing)
            raise
        if answered.strip('"') != etag:
            raise StackError(f"{name!r} was written as {answered}, not {etag}")
        writing.ended = time.monotonic()

    def delete(self, key: bytes) -> None:
        """Delete a key; retry until it is acknowledged."""
        writing = self._journal.begin_deleting(key)
        self._surely(lambda: self._client.delete_object(Bucket=self._bucket, Key=key.decode()))
        writing.ended = time.monotonic()

    def read_all(self) -> dict[bytes, tuple[str, bytes]]:
        """Read the whole bucket: each key's ETag and SHA-256."""
        found: dict[bytes, tuple[str, bytes]] = {}
        for key in self._list():
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            digest = hashlib.sha256(answer["Body"].read()).digest()
            found[key.encode()] = (answer["ETag"].strip('"'), digest)
        return found

    def _list(self) -> Iterator[str]:
        """Yield all keys, decoded if the server encodes them."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, EncodingType="url"):
            decode = unquote_plus if page.get("EncodingType") == "url" else str
            # Folders that the server made for keys below them aren't objects, though it lists some.
            yield from (decode(entry["Key"]) for entry in page.get("Contents", ()) if entry["Size"])

    def _put_parts(self, name: str, pieces: Iterable[bytes]) -> str:
        upload = self._client.create_multipart_upload(Bucket=self._bucket, Key=name)["UploadId"]
        place: Any = {"Bucket": self._bucket, "Key": name, "UploadId": upload}
        done = [
            {"PartNumber": number, "ETag": self._client.upload_part(**place, PartNumber=number, Body=piece)["ETag"]}
            for number, piece in enumerate(pieces, 1)
        ]
        return self._client.complete_multipart_upload(**place, MultipartUpload={"Parts": done})["ETag"]  # type: ignore[typeddict-item]

    def _surely(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the act gives
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                return act()
            except (BotoCoreError, ClientError) as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"] if isinstance(error, ClientError) else 0
                if status in REFUSED:
                    raise Refused(str(error)) from error
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN_SECONDS)

    def _work(self) -> None:
        while (act := self._orders.get()) is not None:
            try:
                act()
            except Refused:
                continue
            except Exception as error:  # noqa: BLE001 - told by `stop`
                self.failure = error
                return


def _client(server: S3Server) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.environment["AWS_REGION"],
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(
            max_pool_connections=FILLERS,
            connect_timeout=5,
            read_timeout=10,
            retries={"mode": "standard", "max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )
