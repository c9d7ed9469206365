"""S3's event notifications, read from an SQS queue: new and changed objects, without listing.

S3's events arrive in three forms: sent to the queue directly, through an SNS topic, or through EventBridge. An event is
deleted from the queue only after the caller has stored it; receiving one twice does no harm.
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
    """The event lacks values that a listing would have: request them from the object."""


@dataclass(frozen=True, slots=True)
class NotificationBatch:
    """The result of one request: events, and the receipts to delete their messages."""

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
        """Delete these messages from the queue. Messages that can't be deleted come again."""
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
    """Read a message's events; other messages (for example S3's test event) have none."""
    try:
        found = json.loads(body)
        if isinstance(found, dict) and found.get("Type") == "Notification":
            found = json.loads(found["Message"])
        records = list(_records(found)) if isinstance(found, dict) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        records = []
    if not records:
        log.debug("a message without an event", body=body[:SHOWN])
    # One by one, so that an unreadable event doesn't hide the others.
    return [event for record in records if (event := _event(*record)) is not None]


def _records(found: Mapping[str, Any]) -> Iterator[tuple[Any, bool]]:
    """Yield a message's records of buckets and objects, and whether their keys are encoded."""
    if found.get("detail-type") == "Object Created":  # EventBridge: keys aren't encoded
        yield found.get("detail"), False
    for record in found.get("Records") or ():
        if isinstance(record, dict) and str(record.get("eventName", "")).removeprefix("s3:").startswith(CREATED):
            yield record.get("s3"), True


def _event(said: object, encoded: bool) -> ObjectWritten | None:  # noqa: FBT001 - a pair that belongs together
    """Read one event; None for a folder's placeholder, and for events without an object."""
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
