"""A private S3 server (versitygw) over a folder, with its own keys."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.store import S3Store

from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import Server, StackError, plain_environment

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION: Final = "us-east-1"
START_SECONDS: Final = 30.0
UPLOADS: Final = 16
BUFFER: Final = ("--io-buffer-size", str(128 * 1024))
"""A ranged GET allocates it whole, and the default is a MiB: more work than the photo that is read."""


class S3Server(Server):
    """One server with one account."""

    def __init__(self, folder: Path, leash: Leash) -> None:
        super().__init__("s3", folder, leash)
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.access_key = secrets.token_hex(8)
        self.secret_key = secrets.token_hex(20)
        self.buckets = folder / "s3"
        self.client = self._make_client()

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that boto3's default chain needs; the endpoint is a setting of Sluice's."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def start(self) -> None:
        """Start; returns before it is ready."""
        program = Path(sys.executable).parent / "versitygw"
        if not program.exists():
            raise StackError(f"no {program}: run scripts/setup")
        self.buckets.mkdir(exist_ok=True)
        serving = ["--port", f"127.0.0.1:{self.port}", "--region", REGION, "--keep-alive", "--quiet"]
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        self.spawn(
            [program, *serving, "posix", *BUFFER, *self._where_metadata_goes(), self.buckets],
            plain_environment(**keys),
        )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until it lists buckets."""
        self.wait_until(self._answers, seconds)

    def fill(self, bucket: str, objects: Iterable[tuple[str, bytes]]) -> int:
        """Upload objects to a bucket (created if necessary), several at once; return their number. Simple keys only."""
        with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=bucket)
        store = S3Store(
            bucket,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )
        with ThreadPoolExecutor(UPLOADS) as pool:
            return sum(1 for _ in pool.map(lambda item: obstore.put(store, item[0], item[1]), objects))

    def _answers(self) -> bool:
        try:
            self.client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    def _where_metadata_goes(self) -> list[str | Path]:
        """Store ETags in a separate folder if the file system has no user attributes."""
        try:
            os.setxattr(self.buckets, "user.sluice", b"")
        except OSError:
            sidecar = self.buckets.with_name("s3-metadata")
            sidecar.mkdir(exist_ok=True)
            return ["--sidecar", sidecar]
        return []

    def _make_client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                max_pool_connections=UPLOADS,
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 2},
                s3={"addressing_style": "path"},
            ),
        )
