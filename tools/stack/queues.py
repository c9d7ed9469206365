"""A private SQS server (moto), which tells of objects as S3's event notifications do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sluice.domain import ListedObject
from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import Server, plain_environment

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION: Final = "us-east-1"
START_SECONDS: Final = 30.0


class QueueServer(Server):
    """One server; its queues are gone when it ends."""

    def __init__(self, folder: Path, leash: Leash, account: Mapping[str, str]) -> None:
        """`account` is the S3 server's environment: Sluice uses the same keys for both."""
        super().__init__("sqs", folder, leash)
        self.endpoint = f"http://127.0.0.1:{free_port()}"
        self.client: SQSClient = boto3.client(
            "sqs",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=account["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=account["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 2}),
        )

    def start(self) -> None:
        """Start; returns before it is ready."""
        port = self.endpoint.rpartition(":")[2]
        self.spawn([sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", port], plain_environment())

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it lists queues."""
        self.wait_until(self._answers, seconds)

    def create(self, name: str) -> str:
        """Create a queue, and return its URL."""
        return self.client.create_queue(QueueName=name)["QueueUrl"]

    def tell(self, queue: str, bucket: str, objects: Iterable[ListedObject]) -> None:
        """Send one message that tells of these objects."""
        records = [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {
                    "bucket": {"name": bucket},
                    "object": {"key": written.key.decode(), "size": written.size, "eTag": written.etag},
                },
            }
            for written in objects
        ]
        self.client.send_message(QueueUrl=queue, MessageBody=json.dumps({"Records": records}))

    def _answers(self) -> bool:
        try:
            self.client.list_queues()
        except (BotoCoreError, ClientError):
            return False
        return True
