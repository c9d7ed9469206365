"""The bucket's side of an upload: parts that become an object when all are there, and what is left of those that don't.

Rights that this needs on SLUICE_GATEWAY_STORE: s3:PutObject, s3:AbortMultipartUpload, s3:DeleteObject, and on its
bucket s3:ListBucketMultipartUploads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from gateway.store import LISTED, PictureStore
from sluice.errors import SourceError
from sluice.telemetry import get_logger

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = get_logger()

LEFT_FOR: Final = timedelta(days=1)
SWEEP_PAGES: Final = 20
TYPES: Final = {".zip": "application/zip", ".tar": "application/x-tar"}


@dataclass
class PartsUpload:
    """A multipart upload that is under way."""

    key: str
    id: str
    parts: list[CompletedPartTypeDef] = field(default_factory=list)


class ArchiveBucket:
    """Where archives are kept, by the store's own connections."""

    def __init__(self, store: PictureStore) -> None:
        self.name = store.bucket
        self._store = store
        self._prefix = store.archive_key("", "").rstrip("/") + "/"

    def key(self, upload_id: str, name: str) -> str:
        """Return the key that an archive is kept under."""
        return self._store.archive_key(upload_id, name)

    async def begin(self, key: str) -> PartsUpload:
        """Begin to put an object in parts."""
        answer = await self._store.call(
            lambda client: client.create_multipart_upload(
                Bucket=self.name, Key=key, ContentType=TYPES[key[-4:].lower()]
            ),
            key,
        )
        return PartsUpload(key, answer["UploadId"])

    async def put_part(self, upload: PartsUpload, number: int, data: bytes) -> None:
        """Put one part; parts count from 1."""
        answer = await self._store.call(
            lambda client: client.upload_part(
                Bucket=self.name, Key=upload.key, UploadId=upload.id, PartNumber=number, Body=data
            ),
            upload.key,
        )
        upload.parts.append({"ETag": answer["ETag"], "PartNumber": number})

    async def complete(self, upload: PartsUpload) -> None:
        """Make the object of its parts."""
        await self._store.call(
            lambda client: client.complete_multipart_upload(
                Bucket=self.name, Key=upload.key, UploadId=upload.id, MultipartUpload={"Parts": upload.parts}
            ),
            upload.key,
        )

    async def abort(self, upload: PartsUpload) -> None:
        """Drop the parts; where that fails, the sweep does it a day later."""
        try:
            await self._store.call(
                lambda client: client.abort_multipart_upload(Bucket=self.name, Key=upload.key, UploadId=upload.id),
                upload.key,
                "removed",
            )
        except SourceError as error:
            log.warning("parts of an upload stay for a day", key=upload.key, why=str(error))

    async def remove(self, key: str) -> None:
        """Remove an archive that became no job."""
        try:
            await self._store.call(lambda client: client.delete_object(Bucket=self.name, Key=key), key, "removed")
        except SourceError as error:
            log.warning("an archive without a job stays in the bucket", key=key, why=str(error))

    async def sweep(self) -> int:
        """Drop the parts of uploads that were begun more than a day ago: their gateway died. Return how many."""
        return await self._store.call(self._sweep, self._prefix, LISTED)

    def _sweep(self, client: S3Client) -> int:
        before = datetime.now(UTC) - LEFT_FOR
        gone, marker, id_marker = 0, "", ""
        for _ in range(SWEEP_PAGES):
            page = client.list_multipart_uploads(
                Bucket=self.name, Prefix=self._prefix, KeyMarker=marker, UploadIdMarker=id_marker
            )
            for each in page.get("Uploads", []):
                # Sluice's clients leave time stamps as they stand.
                if datetime.fromisoformat(str(each["Initiated"])) < before:
                    client.abort_multipart_upload(Bucket=self.name, Key=each["Key"], UploadId=each["UploadId"])
                    gone += 1
            if not page.get("IsTruncated"):
                break
            marker, id_marker = page["NextKeyMarker"], page.get("NextUploadIdMarker", "")
        return gone
