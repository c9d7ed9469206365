"""Whole files to and from a bucket: people's uploads, and model archives.

Jobs read with `sluice.objects.s3`, which checks ETags and tells an object's fault from the bucket's; here any error
ends the command.
"""

from __future__ import annotations

import io
import mimetypes
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import RetriesExceededError

from sluice.domain import check_source
from sluice.errors import ConfigurationError, SourceError, SourceMissing
from sluice.objects.aws import AWS_ERRORS, open_s3, open_session
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEME: Final = "s3://"
NO_ROOM: Final = frozenset({"InsufficientStorage", "XMinioStorageFull", "QuotaExceeded"})
"""Answers of versitygw, MinIO and Ceph when their disk or a quota is full; AWS is never full."""
FAILURES: Final = (
    ClientError, BotoCoreError, ResponseParserError, RetriesExceededError, RuntimeError, KeyError, ValueError,
)  # fmt: skip
"""What a transfer raises for outside problems: as AWS_ERRORS, and if a body breaks off again and again. OSError is the
local file's."""
# The parts of a large file are sent one after the other: callers that want several at once have their own threads.
_TRANSFER: Final = TransferConfig(use_threads=False)


def split(url: str) -> tuple[str, str]:
    """Return bucket and key (or prefix) of an s3:// URL."""
    if not url.startswith(SCHEME):
        raise ConfigurationError(f"{url!r} isn't an S3 URL: expected s3://bucket/key")
    bucket, _, key = check_source(url).removeprefix(SCHEME).partition("/")
    return bucket, key


class BucketFiles:
    """One bucket, for whole files; may be used from many threads."""

    def __init__(self, bucket: str, settings: Settings) -> None:
        self._bucket = bucket
        try:
            self._client: S3Client = open_s3(open_session(settings), settings)
        except AWS_ERRORS as error:  # an endpoint or a region of the environment or of ~/.aws/config
            raise ConfigurationError(f"{error}: correct SLUICE_S3_REGION, AWS_REGION or AWS_ENDPOINT_URL") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def url(self, key: str) -> str:
        """Return an object's url for people."""
        return f"{SCHEME}{self._bucket}/{key}"

    def upload(self, path: Path, key: str) -> None:
        """Upload a file of any size; it replaces an object with this key."""
        with path.open("rb") as file:
            self._put(file, key, f"{path} can't be put at {self.url(key)}")

    def put(self, key: str, data: bytes) -> None:
        """Upload bytes; they replace an object with this key."""
        self._put(io.BytesIO(data), key, f"{self.url(key)} can't be written")

    def download(self, key: str, path: Path) -> None:
        """Download an object to a file."""
        try:
            with path.open("wb") as file:
                self._client.download_fileobj(self._bucket, key, file, Config=_TRANSFER)
        except FAILURES as error:
            raise self._judge(error, f"{self.url(key)} can't be read") from error

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes; None if there is none."""
        file = io.BytesIO()
        try:
            self._client.download_fileobj(self._bucket, key, file, Config=_TRANSFER)
        except FAILURES as error:
            judged = self._judge(error, f"{self.url(key)} can't be read")
            if isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                return None
            raise judged from error
        return file.getvalue()

    def remove(self, key: str) -> None:
        """Delete an object; does nothing if there is none."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        except FAILURES as error:
            raise self._judge(error, f"{self.url(key)} can't be removed") from error

    def files(self, prefix: str) -> list[tuple[str, int, datetime]]:
        """Return key, size and last change of all objects below a prefix."""
        found: list[tuple[str, int, datetime]] = []
        try:
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix)
            while True:
                # `open_s3` leaves times as texts.
                found += [
                    (each["Key"], each["Size"], datetime.fromisoformat(str(each["LastModified"])))
                    for each in page.get("Contents", [])
                ]
                if "NextContinuationToken" not in page:
                    return found
                page = self._client.list_objects_v2(
                    Bucket=self._bucket, Prefix=prefix, ContinuationToken=page["NextContinuationToken"]
                )
        except FAILURES as error:
            raise self._judge(error, f"{self.url(prefix)} can't be listed") from error

    def _put(self, file: IO[bytes], key: str, what: str) -> None:
        kind = mimetypes.guess_type(key)[0]
        try:
            self._client.upload_fileobj(
                file, self._bucket, key, ExtraArgs={"ContentType": kind} if kind else None, Config=_TRANSFER
            )
        except FAILURES as error:
            raise self._judge(error, what) from error

    def _judge(self, error: Exception, what: str) -> SourceError:
        if isinstance(error, RetriesExceededError):
            return SourceError(f"{what}: its body broke off again and again: {error.last_exception}: check the storage")
        if not isinstance(error, ClientError):
            return SourceError(f"{what}: {error}: check endpoint and credentials")
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            return SourceMissing(f"{what}: bucket {self._bucket} does not exist: make it, or correct the name")
        if code in {"NoSuchKey", "404"}:
            return SourceMissing(f"{what}: there is no such object")
        if code in NO_ROOM:
            return SourceError(f"{what}: {error}: the storage has no room: make some, or enlarge it")
        return SourceError(f"{what}: {error}: check credentials and policy")
