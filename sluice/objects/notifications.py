"""S3's event notifications, read from an SQS queue: which objects are new or changed, without listing.

S3's events arrive in three forms, all taken: sent to the queue directly, through an SNS topic, through EventBridge. An
event is only deleted from the queue once the caller has written what it says; one that comes twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import structlog

from sluice.domain import ListedObject
from sluice.errors import ConfigurationError, SourceError
from sluice.objects.aws import AWS_ERRORS, open_session, open_sqs
from sluice.objects.entries import make_entry, refuse_key
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = structlog.get_logger(__name__)

LONG_POLL_SECONDS = 10
MESSAGES = 10
CREATED = "ObjectCreated:"
SHOWN = 300


@dataclass(frozen=True, slots=True)
class ObjectWritten:
    """One object that was written."""

    bucket: str
    key: bytes
    listed: ListedObject
    incomplete: bool = False
    """The event lacks what a listing would say: the object itself is to be asked."""


@dataclass(frozen=True, slots=True)
class NotificationBatch:
    """What one request brought: events, and the receipts to delete their messages with."""

    events: Sequence[ObjectWritten]
    receipts: Sequence[str]


class NotificationQueue:
    """Follows one queue. Both methods block: call them in a thread."""

    def __init__(self, queue: str, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings
        self._opened: SQSClient | None = None

    def receive(self) -> NotificationBatch:
        """Wait some seconds for messages."""
        try:
            answer = self._client().receive_message(
                QueueUrl=self._queue, MaxNumberOfMessages=MESSAGES, WaitTimeSeconds=LONG_POLL_SECONDS
            )
        except (ConfigurationError, *AWS_ERRORS) as error:
            raise SourceError(f"{self._queue} can't be read: {error}: check SLUICE_NOTIFICATIONS_QUEUE") from error
        messages = answer.get("Messages", [])
        return NotificationBatch(
            [event for message in messages for event in read_events(message.get("Body", ""))],
            [message["ReceiptHandle"] for message in messages if "ReceiptHandle" in message],
        )

    def delete(self, receipts: Sequence[str]) -> None:
        """Say that these messages are dealt with. What can't be deleted comes again."""
        if not receipts:
            return
        entries = [{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)]
        try:
            self._client().delete_message_batch(QueueUrl=self._queue, Entries=entries)  # type: ignore[arg-type] # TypedDict
        except (ConfigurationError, *AWS_ERRORS) as error:
            raise SourceError(f"messages of {self._queue} can't be deleted: {error}") from error

    def _client(self) -> SQSClient:
        if self._opened is None:
            self._opened = open_sqs(open_session(self._settings), self._settings, self._queue, LONG_POLL_SECONDS)
        return self._opened


def read_events(body: str) -> list[ObjectWritten]:
    """Read a message's events; what is no such event (S3's test event, say) gives none."""
    try:
        found = json.loads(body)
        if isinstance(found, dict) and found.get("Type") == "Notification":
            found = json.loads(found["Message"])
        records = list(_records(found)) if isinstance(found, dict) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        records = []
    if not records:
        log.debug("a message without an event", body=body[:SHOWN])
    # Each for itself: one that can't be read keeps none from being heard.
    return [event for record in records if (event := _event(*record)) is not None]


def _records(found: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Return what a message says of buckets and objects, and whether its keys are encoded."""
    if found.get("detail-type") == "Object Created":  # EventBridge: keys as they are
        yield found.get("detail"), False
    for record in found.get("Records") or ():
        if isinstance(record, dict) and str(record.get("eventName", "")).removeprefix("s3:").startswith(CREATED):
            yield record.get("s3"), True


def _event(said: object, encoded: bool) -> ObjectWritten | None:  # noqa: FBT001 - a pair that belongs together
    """Read one event; None for a placeholder of a folder, and for what names no object."""
    try:
        bucket, held = said["bucket"]["name"], said["object"]  # type: ignore[index] # checked by trying
        name = held["key"]
        etag, size = held.get("etag") or held.get("eTag"), held.get("size")
        raw = name.encode(errors="surrogatepass")
        key = unquote_to_bytes(raw.replace(b"+", b" ")) if encoded else raw
    except (KeyError, TypeError, AttributeError, ValueError):
        log.warning("an event that names no object: the next listing finds what it meant", said=repr(said)[:SHOWN])
        return None
    if not key or not isinstance(bucket, str) or (size == 0 and key.endswith(b"/")):
        return None
    listed = make_entry(key, etag, size)
    return ObjectWritten(bucket, key, listed, incomplete=bool(listed.refused) and not refuse_key(key))
