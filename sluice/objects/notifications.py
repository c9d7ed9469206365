"""S3's event notifications, read from an SQS queue: which objects are new or changed, without listing.

S3's events arrive in three forms, all taken: sent to the queue directly, through an SNS topic, through EventBridge. An
event is only deleted from the queue once the caller has written what it says; one that comes twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError

from sluice.errors import SourceError
from sluice.ledger import Listed
from sluice.objects.aws import open_session, open_sqs
from sluice.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONG_POLL_SECONDS = 10
MESSAGES = 10


@dataclass(frozen=True, slots=True)
class Event:
    """One object that was written."""

    bucket: str
    listed: Listed


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request brought: events, and the receipts to delete their messages with."""

    events: Sequence[Event]
    receipts: Sequence[str]


class Notifications:
    """Follows one queue. Both methods block: call them in a thread."""

    def __init__(self, queue: str, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings
        self._opened: SQSClient | None = None

    def receive(self) -> Batch:
        """Wait some seconds for messages."""
        try:
            answer = self._client().receive_message(
                QueueUrl=self._queue, MaxNumberOfMessages=MESSAGES, WaitTimeSeconds=LONG_POLL_SECONDS
            )
        except (ClientError, BotoCoreError) as error:
            raise SourceError(f"{self._queue} can't be read: {error}: check SLUICE_NOTIFICATIONS_QUEUE") from error
        messages = answer.get("Messages", [])
        return Batch(
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
        except (ClientError, BotoCoreError) as error:
            raise SourceError(f"messages of {self._queue} can't be deleted: {error}") from error

    def _client(self) -> SQSClient:
        if self._opened is None:
            self._opened = open_sqs(open_session(self._settings), self._settings, self._queue, LONG_POLL_SECONDS)
        return self._opened


def read_events(body: str) -> list[Event]:
    """Read a message's events; what is no such event (S3's test event, say) gives none."""
    try:
        found = json.loads(body)
        if isinstance(found, dict) and found.get("Type") == "Notification":
            found = json.loads(found["Message"])
        return list(_events(found)) if isinstance(found, dict) else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _events(found: Mapping[str, Any]) -> Iterator[Event]:
    if found.get("detail-type") == "Object Created":  # EventBridge: keys as they are
        detail = found["detail"]
        yield from _event(detail["bucket"]["name"], detail["object"], detail["object"]["key"])
    for record in found.get("Records", ()):
        if str(record.get("eventName", "")).removeprefix("s3:").startswith("ObjectCreated:"):
            held = record["s3"]["object"]
            yield from _event(record["s3"]["bucket"]["name"], held, unquote_plus(held["key"]))


def _event(bucket: str, held: Mapping[str, Any], key: str) -> Iterator[Event]:
    # Without an ETag there is nothing to read by; the next listing finds the object.
    etag = str(held.get("etag") or held.get("eTag") or "").strip('"')
    size = int(held.get("size", 0))
    if etag and (size or not key.endswith("/")):
        yield Event(bucket, Listed(key.encode(), etag, size))
