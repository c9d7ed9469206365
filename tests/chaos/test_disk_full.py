"""Disks that are really full: work stops, says why, and resumes by itself once there is space."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest
import requests

from sluice.errors import LedgerUnavailable
from sluice.ledger import Database, JobProgress, jobs, progress
from tests.support.ledger_rows import ask, breaches
from tools.stack import Servers, SmallDisk, Stack, StackError
from tools.stack.workers import Worker
from tools.storm.pictures import picture, pictures
from tools.storm.verdict import Outcome, judge

OBJECTS = 1500
LIMIT_SECONDS = 120.0
DATABASE_MB = 64
FULL = "the database's disk is full"
# A new database with these takes 23 MB. With the defaults it takes 150, and grows by 64 at once.
SMALL_DATABASE = (
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-autoextend-increment=1",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-undo-tablespaces=0",
)


class SmallDiskStack:
    """The servers for a job, with the database on a disk of 64 MB and restarted when it ends, as by kubelet or systemd.

    MariaDB ends itself some seconds after its disk is full: its purge thread finds no space (row0purge.cc).
    """

    def __init__(self, servers: Servers, disk: SmallDisk) -> None:
        self.servers = servers
        self.disk = disk

    def wait_for(self, what: Callable[[], bool], seen: Callable[[], object]) -> None:
        """Wait until `what` returns True."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self._is_so(what):
            assert time.monotonic() < deadline, seen()
            if self.servers.database.pid is None:
                self.servers.database.start()
            time.sleep(0.1)

    def _is_so(self, what: Callable[[], bool]) -> bool:
        try:
            return what()
        except LedgerUnavailable:
            return False


@pytest.fixture
def cluster() -> Iterator[SmallDiskStack]:
    with Servers(models=["noop"], database_options=SMALL_DATABASE) as servers:
        try:
            disk = SmallDisk(servers.database.folder, DATABASE_MB)
            disk.mount()
        except StackError as error:
            pytest.skip(str(error))
        try:
            servers.start(servers.database, servers.torchserve)
            yield SmallDiskStack(servers, disk)
        finally:
            servers.database.kill()
            disk.unmount()


def test_a_full_disk_under_the_database_loses_nothing(cluster: SmallDiskStack, tmp_path: Path) -> None:
    """Full while a job is listed, enlarged, full again while predictions are committed, enlarged again."""
    source = write_pictures(tmp_path / "photos")
    with (
        Stack(cluster.servers, "full", cache_entries=0, database_patience=1.0) as stack,
        Database(stack.settings) as database,
    ):
        stack.start_workers(2)

        def seen() -> JobProgress:
            found = database.run(progress.progress, job)
            assert found is not None
            return found

        cluster.disk.fill()
        job = database.run(jobs.submit, source, "noop")
        cluster.wait_for(lambda: said_by(stack.producers) == {FULL} and FULL in seen().message, lambda: why(stack))
        cluster.disk.enlarge(DATABASE_MB + 8)
        cluster.wait_for(lambda: seen().done > 0, lambda: why(stack))
        cluster.disk.fill()
        cluster.wait_for(lambda: said_by(stack.consumers) == {FULL} and FULL in seen().message, lambda: why(stack))
        assert seen().done < OBJECTS
        cluster.disk.enlarge(2 * DATABASE_MB)
        cluster.wait_for(lambda: seen().state == "done" and not seen().message, lambda: why(stack))
        assert [worker.starts for worker in stack.workers] == [1, 1, 1]
        assert stack.producers[0].log.read_text().count("lock taken again") < cluster.servers.database.starts
        outcome = Outcome(0, OBJECTS)
        judge(database, job, outcome)
        assert outcome.breaches == []


def test_a_gateway_says_that_the_disk_is_full_and_what_it_accepted_stays(cluster: SmallDiskStack) -> None:
    """Whoever drops a picture then is told to come back, and has one row afterwards, however often it was tried."""
    cluster.servers.start(cluster.servers.s3)
    with (
        Stack(cluster.servers, "dropped", database_patience=1.0) as stack,
        Database(stack.settings) as database,
    ):
        gateway = stack.start_gateway(gateway_anonymous="user")
        accepted: set[int] = set()
        dropped = 0

        def drop(number: int) -> str:
            """Drop a picture and return why it wasn't accepted."""
            answer = requests.post(
                f"{gateway.url}/api/v1/predictions", files={"file": picture(number)}, timeout=LIMIT_SECONDS
            )
            assert answer.status_code in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}, answer.text
            if answer.ok:
                accepted.add(number)
                return ""
            assert int(answer.headers["Retry-After"]) > 0
            return str(answer.json()["detail"])

        def drop_another() -> bool:
            nonlocal dropped
            dropped += 1
            return FULL in drop(dropped)

        def is_accepted(number: int) -> bool:
            return not drop(number)

        assert is_accepted(0)
        cluster.disk.fill()
        cluster.wait_for(drop_another, lambda: why(stack))
        cluster.disk.enlarge(DATABASE_MB + 32)
        for number in range(dropped + 1):
            cluster.wait_for(partial(is_accepted, number), lambda: why(stack))
        assert len(accepted) == dropped + 1
        cluster.wait_for(lambda: not gateway.why_not_ready(), lambda: why(stack))
        assert gateway.starts == 1
        digests = {row["sha256"] for row in ask(database, "SELECT sha256 FROM predictions")}
        assert digests == {hashlib.sha256(picture(number)).digest() for number in accepted}
        assert len(ask(database, "SELECT object_id FROM results")) == len(accepted)
        assert breaches(database) == []


def write_pictures(folder: Path) -> str:
    for name, data in pictures(OBJECTS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return f"file://{folder}"


def said_by(workers: list[Worker]) -> set[str]:
    """Return FULL for each worker whose /ready says so, else what it says."""
    said = [worker.why_not_ready() for worker in workers]
    return {FULL if FULL in why else why for why in said}


def why(stack: Stack) -> dict[str, str]:
    return {worker.name: worker.why_not_ready() for worker in stack.workers}
