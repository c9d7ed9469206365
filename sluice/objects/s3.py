"""An S3 bucket (or what speaks like one) as a source.

boto3 lists, and reads what must be read with care: it takes any key and tells errors apart by their code. obstore reads
the rest at a fifth of the CPU (docs/benchmarks.md). Whatever obstore fails to read is read again with boto3, whose
answer counts: errors are judged in one place.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote_to_bytes

import obstore
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError as ObstoreError
from obstore.store import S3Store

from sluice.errors import ObjectError, SourceError
from sluice.ledger import Listed
from sluice.objects.aws import is_aws, open_s3, open_session
from sluice.objects.source import Changed, SourceMissing
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ListObjectsV2RequestTypeDef, ObjectTypeDef

T = TypeVar("T")

PAGE = 1000
# HTTP status and S3 code (any, where empty) -> reason, if the bucket itself can still be listed.
FAULTS = {
    (400, "InvalidRequest"): "unreadable",  # encrypted with a key that only its owner has
    (403, ""): "access_denied",
    (404, ""): "not_found",
    (405, "MethodNotAllowed"): "not_found",  # a delete marker
}
ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
CREDENTIALS_TTL = timedelta(minutes=5)
# What object_store's Path refuses, or would quietly read as another key: empty, '.' and '..' parts, control characters.
NOT_PLAIN = re.compile(r"\A/|/\Z|//|(?:\A|/)\.{1,2}(?:/|\Z)|[\x00-\x1f\x7f]")


class Bucket:
    """One bucket below a prefix; connects when first used."""

    def __init__(self, bucket: str, prefix: str, settings: Settings) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._settings = settings
        self._opening = threading.Lock()
        self._opened: tuple[S3Client, S3Store | None] | None = None
        # Reads have threads of their own, so that a slow bucket can't hold those that the ledger is reached with.
        self._threads = ThreadPoolExecutor(settings.fetch_concurrency, thread_name_prefix="s3")

    def list(self, after: bytes) -> Iterator[list[Listed]]:
        """Page through the bucket in key order. 'Folders' (empty objects whose key ends in a slash) are left out."""
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": self._prefix,
            "MaxKeys": PAGE,
            "EncodingType": "url",
        }
        if after:
            request["StartAfter"] = after.decode()
        while True:
            answer = self._ask(lambda: self._client().list_objects_v2(**request))
            yield _page(answer)
            token = answer.get("NextContinuationToken")
            if not answer.get("IsTruncated") or not token:
                return
            request["ContinuationToken"] = token
            request.pop("StartAfter", None)

    async def read(self, key: bytes, etag: str, limit: int) -> bytes:
        """Read with If-Match; the answer's own ETag is compared too, for servers that ignore the condition."""
        name = key.decode()
        loop = asyncio.get_running_loop()
        if self._opened is None:
            await loop.run_in_executor(self._threads, self._open)
        store = self._opened[1] if self._opened else None
        if store is not None and NOT_PLAIN.search(name) is None:
            data = await self._read_fast(store, name, etag, limit)
            if data is not None:
                return data
        return await loop.run_in_executor(self._threads, self._read_surely, key, etag, limit)

    async def head(self, key: bytes) -> Listed:
        """Say what the key holds now."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._head, key)

    def url(self, key: bytes) -> str:
        """Name an object for people."""
        return f"s3://{self._bucket}/{key.decode(errors='backslashreplace')}"

    def close(self) -> None:
        """Let go of the connections; reads under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._opened:
            self._opened[0].close()
            self._opened = None

    async def _read_fast(self, store: S3Store, name: str, etag: str, limit: int) -> bytes | None:
        """Read with obstore; None says that boto3 is to find out what the matter is."""
        try:
            answer = await obstore.get_async(store, name, options={"if_match": f'"{etag}"'})
            if _bare(answer.meta["e_tag"]) != etag or answer.meta["size"] > limit:
                return None
            data = bytes(await answer.bytes_async())
        except (ObstoreError, OSError, ValueError):
            return None
        return data if len(data) == answer.meta["size"] else None

    def _read_surely(self, key: bytes, etag: str, limit: int) -> bytes:
        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=key.decode(), IfMatch=f'"{etag}"')
            with answer["Body"] as body:
                if _bare(answer["ETag"]) != etag:
                    raise Changed(Listed(key, _bare(answer["ETag"]), answer["ContentLength"]))
                if answer["ContentLength"] > limit:
                    raise ObjectError("too_large", f"{answer['ContentLength']} bytes, more than {limit}")
                return body.read()
        except (ClientError, BotoCoreError) as error:
            if _code(error) in {"PreconditionFailed", "412"}:
                raise Changed(self._head(key)) from error
            raise self._judge(error, key) from error

    def _head(self, key: bytes) -> Listed:
        try:
            found = self._client().head_object(Bucket=self._bucket, Key=key.decode())
        except (ClientError, BotoCoreError) as error:
            raise self._judge(error, key) from error
        return Listed(key, _bare(found["ETag"]), found["ContentLength"])

    def _judge(self, error: ClientError | BotoCoreError, key: bytes) -> SourceError:
        """Say whose fault it is: the object's own (ObjectError) or the bucket's, the network's, ours (SourceError)."""
        code, status = _code(error), _status(error)
        detail = f"{self.url(key)}: {error}"
        if code == "InvalidObjectState":
            return ObjectError("archived", detail)
        if code == "NoSuchBucket":
            return SourceMissing(f"bucket {self._bucket} does not exist: correct the job's source")
        if code == "NoSuchKey":
            return ObjectError("not_found", detail)
        reason = FAULTS.get((status, code)) or FAULTS.get((status, ""))
        if reason is None:
            return SourceError(f"{detail}: tried again later")
        try:  # a wrong endpoint or expired credentials answer so for every object: only a bucket that lists is sound
            self._ask(lambda: self._client().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1))
        except SourceError as whole:
            return whole
        return ObjectError(reason, detail)

    def _ask(self, call: Callable[[], T]) -> T:
        what = self._bucket
        try:
            return call()
        except ClientError as error:
            if _code(error) == "NoSuchBucket" or _status(error) == 404:  # noqa: PLR2004
                raise SourceMissing(f"bucket {what} does not exist: correct the job's source") from error
            if _status(error) in {401, 403}:
                raise SourceError(f"bucket {what} can't be listed: {error}: check credentials and policy") from error
            raise SourceError(f"bucket {what} can't be listed: {error}") from error
        except (BotoCoreError, HTTPClientError) as error:
            raise SourceError(f"bucket {what} can't be reached: {error}: check endpoint and credentials") from error

    def _client(self) -> S3Client:
        return self._open()[0]

    def _open(self) -> tuple[S3Client, S3Store | None]:
        with self._opening:
            if self._opened is None:
                session = open_session(self._settings)
                client = open_s3(session, self._settings)
                region = self._region(client)
                if region and region != client.meta.region_name:
                    client = open_s3(session, self._settings, region)
                fast = self._settings.s3_client == "obstore" and session.get_credentials() is not None
                store = self._store(client, Boto3CredentialProvider(session, ttl=CREDENTIALS_TTL)) if fast else None
                self._opened = (client, store)
            return self._opened

    def _region(self, client: S3Client) -> str | None:
        """Ask AWS where the bucket is: boto3 follows a redirection, obstore does not."""
        if not is_aws(client.meta.endpoint_url):
            return None
        try:
            return client.head_bucket(Bucket=self._bucket).get("BucketRegion")
        except (ClientError, BotoCoreError):
            return None  # the first listing or read says what is wrong

    def _store(self, client: S3Client, credentials: Boto3CredentialProvider) -> S3Store:
        timeout = timedelta(seconds=self._settings.s3_timeout)
        endpoint = client.meta.endpoint_url
        # A dot in a bucket's name is outside of what AWS's certificate covers.
        virtual = is_aws(endpoint) and "." not in self._bucket
        credentials.config = {}
        return S3Store(
            self._bucket,
            endpoint=endpoint.replace("://", f"://{self._bucket}.", 1) if virtual else endpoint,
            region=client.meta.region_name,
            virtual_hosted_style_request=virtual,
            credential_provider=credentials,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": min(timeout, timedelta(seconds=10)),
                "read_timeout": timeout,
                "timeout": timeout * 6,
            },
            retry_config={"max_retries": 1, "retry_timeout": timeout},
        )


def _page(answer: ListObjectsV2OutputTypeDef) -> list[Listed]:
    decode = unquote_to_bytes if answer.get("EncodingType") == "url" else str.encode
    return [
        Listed(
            key=decode(entry["Key"].replace("+", " ") if decode is unquote_to_bytes else entry["Key"]),
            etag=_bare(entry["ETag"]),
            size=entry["Size"],
            archived=_archived(entry),
        )
        for entry in answer.get("Contents", ())
        if entry["Size"] or not entry["Key"].endswith("/")
    ]


def _archived(entry: ObjectTypeDef) -> bool:
    return entry.get("StorageClass") in ARCHIVE_CLASSES


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: Exception) -> int:
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
