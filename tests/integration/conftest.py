"""Producers as processes, on the session's servers: for tests that act as the consumer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.ledger import Database, LedgerCursor, models
from sluice.settings import Settings
from tests.support.producer_jobs import Start
from tests.support.producer_servers import Photos
from tools.stack import S3Server
from tools.stack.ports import free_port


@pytest.fixture
def own_settings(s3_settings: Settings) -> Settings:
    """Add a live model, a free address and short waits.

    But patience with consumers: a test whose machine stands still for seconds is no dead consumer.
    """

    def register(cursor: LedgerCursor) -> None:
        models.register(cursor, "m", "1", "0" * 64, {}, ["label"])
        models.promote(cursor, "m", "1")

    with Database(s3_settings) as database:
        database.run(register)
    own = {"bind": f"tcp://127.0.0.1:{free_port()}", "heartbeat": 20.0, "s3_timeout": 2.0, "poll_seconds": 0.1}
    return s3_settings.model_copy(update=own)


@pytest.fixture
def photos(s3: S3Server, bucket: str) -> Photos:
    return Photos(bucket, s3.client)


@pytest.fixture
def database(own_settings: Settings) -> Iterator[Database]:
    with Database(own_settings) as found:
        yield found


@pytest.fixture
def start(own_settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Start producers; those that still run at the end are killed, and their logs shown."""
    started: list[subprocess.Popen[bytes]] = []
    names = ("bind", "s3_endpoint", "heartbeat", "s3_timeout", "poll_seconds")
    environment = {**os.environ, **{f"SLUICE_{name.upper()}": str(getattr(own_settings, name)) for name in names}}
    environment["SLUICE_DATABASE_URL"] = own_settings.database_url.get_secret_value()
    log = tmp_path / "producer.log"

    def begin(*arguments: str, **more: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            command = [sys.executable, "-m", "producer", *arguments]
            process = subprocess.Popen(command, env={**environment, **more}, stdout=out, stderr=out)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
    if log.exists():
        print(log.read_text())  # noqa: T201 - pytest shows it where a test failed
