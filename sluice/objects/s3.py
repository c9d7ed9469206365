"""An S3 bucket (or a compatible server's) as a source.

boto3 lists, and reads in the difficult cases: it takes any key, and its errors have codes. All other reads are done by
a client that takes less of the processor (`direct`, or obstore). If that fails to read an object, boto3 reads it again,
and boto3's error counts, so errors are judged in one place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import unquote_to_bytes

import obstore
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import S3Store

from sluice.domain import ListedObject, Reason
from sluice.errors import ConfigurationError, ObjectError, ReadBrokenOff, ReadRefused, SourceError, SourceMissing
from sluice.objects.aws import AWS_ERRORS
from sluice.objects.clients import BucketClients, OpenClients
from sluice.objects.entries import bare, make_entry, refuse_key
from sluice.objects.source import ObjectChanged
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef, ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef
    from obstore import GetOptions

T = TypeVar("T")

PAGE = 1000
# HTTP status and S3 code (any, if empty) -> reason, if the bucket itself can still be listed.
FAULTS = {
    (400, "InvalidRequest"): Reason.UNREADABLE,  # encrypted with a key that only the owner has
    (403, ""): Reason.ACCESS_DENIED,
    (404, ""): Reason.NOT_FOUND,
    (405, "MethodNotAllowed"): Reason.NOT_FOUND,  # a delete marker
}
# Answers to who asks, not to what is asked for: keys that are being rotated, a clock that was set, a server that knows
# them not yet. The bucket may be listed a moment later, so that proves nothing.
OF_REQUESTER: Final = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "InvalidToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
# Answers of an overloaded server, or of a proxy whose server is gone: never an object's fault.
BUSY: Final = frozenset({429, 502, 503, 504})
BUSY_CODES: Final = frozenset({"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestTimeout"})
ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# Rejected by object_store's Path, or silently read as another key: empty, '.' and '..' parts, control characters.
NOT_PLAIN = re.compile(r"\A/|/\Z|//|(?:\A|/)\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f]")


class Bucket:
    """One bucket below a prefix; connects at the first use."""

    def __init__(self, bucket: str, prefix: str, settings: Settings) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._clients = BucketClients(bucket, settings)

    def list(self, after: bytes) -> Iterator[list[ListedObject]]:
        """Page through the bucket in key order. Omits 'folders': empty objects whose key ends in a slash."""
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": self._prefix,
            "MaxKeys": PAGE,
            "EncodingType": "url",
        }
        if after:
            request["StartAfter"] = _text(after)
        while True:
            answer = self._ask(lambda: self._client().list_objects_v2(**request))
            yield _page(answer)
            token = answer.get("NextContinuationToken")
            if not answer.get("IsTruncated"):
                return
            if not token:
                raise SourceError(
                    f"bucket {self._bucket} can't be listed: there are more objects, but the server doesn't say where: "
                    "does it know version 2 of listings (list-type=2)?"
                )
            if token == request.get("ContinuationToken"):
                raise SourceError(f"bucket {self._bucket} can't be listed: the server repeats a page")
            request["ContinuationToken"] = token
            request.pop("StartAfter", None)

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Read with If-Match; the answer's ETag is compared too, for servers that ignore the condition."""
        return await self._read(key, etag, limit, None)

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Read a part with If-Match."""
        return await self._read(key, etag, length, first)

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        """Read a part with If-Match, with boto3."""
        self._check(key)
        return self._read_surely(key, etag, length, first)

    def head_now(self, key: bytes) -> ListedObject:
        """Return what the key holds now."""
        self._check(key)
        return self._head(key)

    async def _read(self, key: bytes, etag: str, limit: int, first: int | None) -> bytes:
        """Read a whole object, if it has at most `limit` bytes, or `limit` bytes from `first` on."""
        self._check(key)
        if not etag:  # listed by an earlier version: its bytes can't be identified
            raise ObjectError(Reason.UNLISTABLE, f"{self.url(key)}: it was listed without an ETag")
        name = key.decode()
        loop = asyncio.get_running_loop()
        with self._clients.reads.used():
            if self._clients.opened is None:
                await loop.run_in_executor(self._clients.threads, self._clients.open)
            opened = self._clients.opened
            if opened is not None and NOT_PLAIN.search(name) is None:
                data = await self._read_fast(opened, name, etag, limit, first)
                if data is not None:
                    return data
            return await loop.run_in_executor(self._clients.threads, self._read_surely, key, etag, limit, first)

    async def head(self, key: bytes) -> ListedObject:
        """Return what the key holds now."""
        self._check(key)
        with self._clients.reads.used():
            return await asyncio.get_running_loop().run_in_executor(self._clients.threads, self._head, key)

    def url(self, key: bytes) -> str:
        """Return an object's url for people."""
        return f"s3://{self._bucket}/{key.decode(errors='backslashreplace')}"

    def close(self) -> None:
        """Close the connections after the reads in progress."""
        self._clients.close()

    async def _read_fast(
        self, opened: OpenClients, name: str, etag: str, limit: int, first: int | None
    ) -> bytes | None:
        """Read with the fastest client; None means that boto3 has to find out what is wrong."""
        if opened.direct is not None:
            try:
                return await opened.direct.read(name, etag, limit, first, self._clients.threads)
            except (ConfigurationError, *AWS_ERRORS):  # its keys can't be renewed
                return None
        return None if opened.store is None else await self._read_by_obstore(opened.store, name, etag, limit, first)

    async def _read_by_obstore(
        self, store: S3Store, name: str, etag: str, limit: int, first: int | None
    ) -> bytes | None:
        options: GetOptions = {"if_match": f'"{etag}"'}
        if first is not None:
            options["range"] = (first, first + limit)
        try:
            answer = await obstore.get_async(store, name, options=options)
            begin, end = answer.range
            if bare(answer.meta["e_tag"]) != etag or begin != (first or 0) or end - begin > limit:
                return None
            data = bytes(await answer.bytes_async())
        except (ObstoreError, OSError, ValueError):
            return None
        whole = end == answer.meta["size"] or (first is not None and end - begin == limit)
        return data if whole and len(data) == end - begin else None

    def _read_surely(self, key: bytes, etag: str, limit: int, first: int | None) -> bytes:
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": key.decode(), "IfMatch": f'"{etag}"'}
        if first is not None:
            request["Range"] = f"bytes={first}-{first + limit - 1}"
        try:
            answer = self._client().get_object(**request)
            # Not `with answer["Body"]`, which gives urllib3's stream: its errors aren't botocore's.
            with closing(answer["Body"]) as body:
                size = answer.get("ContentLength")
                if bare(answer.get("ETag")) != etag:
                    raise ObjectChanged(self._head(key))
                if first is not None and not answer.get("ContentRange", "").startswith(f"bytes {first}-"):
                    raise ReadRefused(f"{self.url(key)}: the server ignores Range, so archives can't be read")
                if size is not None and size > limit:
                    raise ObjectError(Reason.TOO_LARGE, f"{size} bytes, more than {limit}")
                data = body.read(limit + 1)
        except AWS_ERRORS as error:
            if _code(error) in {"PreconditionFailed", "412"}:
                raise ObjectChanged(self._head(key)) from error
            raise self._judge(error, key) from error
        if len(data) > limit:
            raise ObjectError(Reason.TOO_LARGE, f"more than {limit} bytes")
        # botocore only notices a body that is reset, not one that ends too early.
        if size is not None and len(data) != size:
            raise ReadBrokenOff(f"{self.url(key)}: the body ended after {len(data)} of {size} bytes: tried again later")
        return data

    def _head(self, key: bytes) -> ListedObject:
        try:
            found = self._client().head_object(Bucket=self._bucket, Key=key.decode())
        except AWS_ERRORS as error:
            raise self._judge(error, key) from error
        return self._entry(key, found.get("ETag"), found.get("ContentLength"))

    def _check(self, key: bytes) -> None:
        if why := refuse_key(key):
            raise ObjectError(Reason.UNLISTABLE, f"{self.url(key)}: {why}")

    def _entry(self, key: bytes, etag: str | None, size: int | None) -> ListedObject:
        """Return what a key holds now, if it can be read."""
        entry = make_entry(key, etag, size)
        if entry.refused:
            raise ObjectError(Reason.UNLISTABLE, f"{self.url(key)}: {entry.refused}")
        return entry

    def _judge(self, error: Exception, key: bytes) -> SourceError:
        """Return the error by fault: the object's own (ObjectError), or anything else's (SourceError)."""
        code, status = _code(error), _status(error)
        detail = f"{self.url(key)}: {error}"
        if code == "InvalidObjectState":
            return ObjectError(Reason.ARCHIVED, detail)
        if code == "NoSuchBucket":
            return SourceMissing(f"bucket {self._bucket} does not exist: correct the job's source")
        if code == "NoSuchKey":
            return ObjectError(Reason.NOT_FOUND, detail)
        reason = FAULTS.get((status, code)) or FAULTS.get((status, ""))
        if reason is None or code in OF_REQUESTER:
            return _kind(error)(f"{detail}: tried again later")
        try:  # a wrong endpoint or expired credentials affect every object, so the bucket must be listable
            self._ask(lambda: self._client().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1))
        except SourceError as whole:
            return whole
        return ObjectError(reason, detail)

    def _ask(self, call: Callable[[], T]) -> T:
        what = self._bucket
        try:
            return call()
        except ClientError as error:
            if _code(error) == "NoSuchBucket":
                raise SourceMissing(f"bucket {what} does not exist: correct the job's source") from error
            if _status(error) in {401, 403}:
                raise SourceError(f"bucket {what} can't be listed: {error}: check credentials and policy") from error
            raise SourceError(f"bucket {what} can't be listed: {error}") from error
        except AWS_ERRORS as error:
            raise SourceError(f"bucket {what} can't be reached: {error}: check endpoint and credentials") from error

    def _client(self) -> S3Client:
        return self._clients.open().boto


def _page(answer: ListObjectsV2OutputTypeDef) -> list[ListedObject]:
    encoded = answer.get("EncodingType") == "url"
    page: list[ListedObject] = []
    for entry in answer.get("Contents", ()):
        key, size = entry.get("Key", ""), entry.get("Size")
        if size == 0 and key.endswith("/"):
            continue
        raw = unquote_to_bytes(key.replace("+", " ")) if encoded else key.encode()
        archived = entry.get("StorageClass") in ARCHIVE_CLASSES
        page.append(make_entry(raw, entry.get("ETag"), size, archived=archived))
    return page


def _text(key: bytes) -> str:
    """Return a key as text; if it isn't UTF-8, the part before the first invalid byte, which sorts before it."""
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        return key[: error.start].decode()


def _kind(error: Exception) -> type[SourceError]:
    """Return whether the storage itself refused one read, or broke it off: else the network failed, or overload."""
    if isinstance(error, IncompleteReadError | ResponseStreamingError):
        return ReadBrokenOff
    status = _status(error)
    is_refusal = status >= 400 and status not in BUSY and _code(error) not in BUSY_CODES  # noqa: PLR2004
    return ReadRefused if is_refusal else SourceError


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: Exception) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
