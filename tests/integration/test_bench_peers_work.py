"""What `scripts/bench peers` gives each peer: photos from S3, a table, a client for servers; and how it cleans up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tools.bench.peers.client import classify
from tools.bench.peers.rows import create_table, read_rows
from tools.bench.peers.task import Task
from tools.bench.peers.watch import FamilyWatch
from tools.stack import S3Server, Servers
from tools.stack.storage import REGION

PHOTOS = 50
SLEEPERS = (
    "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True); subprocess.run(['sleep', '300'])"
)


@pytest.fixture
def task(
    servers: Servers, database_name: str, s3: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Task:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    servers.database.create(database_name)
    options = tmp_path / "client.cnf"
    servers.database.write_client_file(options, database_name)
    s3.fill(bucket, ((f"{number:03}.jpg", bytes(number + 1)) for number in range(PHOTOS)))
    found = Task(
        endpoint=s3.endpoint,
        region=REGION,
        bucket=bucket,
        photos=PHOTOS,
        archive="",
        database=database_name,
        option_file=str(options),
        batch=4,
        processes=2,
        threads=1,
        port=0,
    )
    found.write(tmp_path)
    return Task.read(tmp_path / "task.json")


async def ask(session: aiohttp.ClientSession, address: str, photo: bytes) -> tuple[str, float]:
    """Answer in the server's place, with what only these bytes can lead to."""
    del session, address
    await asyncio.sleep(0)
    return f"{len(photo)} bytes", 1 / len(photo)


def test_the_client_leaves_one_row_a_photo(task: Task) -> None:
    create_table(task)
    asyncio.run(classify(task, ask))
    rows = read_rows(task)
    assert {(row.url, row.label, row.score) for row in rows} == {
        (f"s3://{task.bucket}/{number:03}.jpg", f"{number + 1} bytes", 1 / (number + 1)) for number in range(PHOTOS)
    }
    assert [row.committed for row in rows] == sorted(row.committed for row in rows)
    assert all(row.fetched <= row.committed for row in rows)


def test_an_answer_that_fails_ends_the_client(task: Task) -> None:
    async def refuse(session: aiohttp.ClientSession, address: str, photo: bytes) -> tuple[str, float]:
        del session, address, photo
        raise aiohttp.ClientError("refused")

    create_table(task)
    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        asyncio.run(classify(task, refuse))


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPERS]) as process:
        yield process
        process.kill()


def test_processes_that_left_the_tree_are_ended_too(parent: subprocess.Popen[bytes]) -> None:
    with FamilyWatch({"system": lambda: [parent.pid]}) as watch:
        family = watch.families["system"]
        while len(family.cpu) < 3 or family.peak_mib == 0:
            assert parent.poll() is None
            time.sleep(0.05)
        seen = [process for process in list(family.cpu) if process.pid != parent.pid]
        parent.kill()
        parent.wait()
        assert watch.end_all("system") == ["sleep", "sleep"]
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in seen)
