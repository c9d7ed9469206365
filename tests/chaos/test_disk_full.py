"""A disk that is really full, under the database: work stands still, says why, and goes on once there is room."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.storm.pictures import pictures
from scripts.storm.verdict import Outcome, judge
from scripts.stack import Servers, SmallDisk, Stack, StackError
from sluice.ledger import Database, jobs, progress

OBJECTS = 4000
LIMIT_SECONDS = 120.0
DISK_MB = 64
# A fresh database of these takes 23 MB. By its defaults it takes 150 MB, and grows by 64 MB at once.
SMALL_DATABASE = (
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
    "--innodb-autoextend-increment=1",
    "--innodb-temp-data-file-path=ibtmp1:1M:autoextend",
    "--innodb-undo-tablespaces=0",
)


def wait_for(what: Callable[[], bool], seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not what():
        assert time.monotonic() < deadline, seen()
        time.sleep(0.1)


@pytest.fixture
def servers() -> Iterator[tuple[Servers, SmallDisk]]:
    with Servers(models=["noop"], database_options=SMALL_DATABASE) as servers:
        try:
            disk = SmallDisk(servers.database.folder, DISK_MB).__enter__()
        except StackError as error:
            pytest.skip(str(error))
        try:
            servers.start(servers.database, servers.torchserve)
            yield servers, disk
            servers.close()
        finally:
            disk.__exit__()


def test_a_full_disk_under_the_database_loses_nothing(servers: tuple[Servers, SmallDisk], tmp_path: Path) -> None:
    servers, disk = servers
    folder = tmp_path / "photos"
    for name, data in pictures(OBJECTS):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with (
        Stack(servers, "full", cache_entries=0, database_patience=2.0) as stack,
        Database(stack.settings) as database,
    ):
        stack.start_workers(2)
        job = database.run(lambda cursor: jobs.submit(cursor, f"file://{folder}", "noop"))

        def done():
            return database.run(lambda cursor: progress.progress(cursor, job)).done

        wait_for(lambda: done() > 0, done)
        t0 = time.time()
        disk.fill()

        def why():
            return [(w.name, w.why_not_ready(), w.pid) for w in stack.workers]

        last = None
        grown = False
        while True:
            try:
                cur = (
                    done(),
                    database.run(lambda cursor: progress.progress(cursor, job)).listed,
                    database.run(lambda cursor: progress.progress(cursor, job)).state,
                    database.run(lambda cursor: progress.progress(cursor, job)).message,
                    why(),
                    servers.database.pid,
                )
            except Exception as e:
                cur = (0, 0, "", "", [str(e)], servers.database.pid)
            if cur != last:
                print(round(time.time() - t0, 1), cur, flush=True)
                last = cur
            if not grown and time.time() - t0 > 25:
                disk.enlarge(128)
                grown = True
                print("grown")
            if servers.database.pid is None:
                print(servers.database.log.read_text()[-9000:-100])
                t1 = time.time()
                servers.database.start()
            if time.time() - t0 > 90 or cur[2] == "done":
                break
            time.sleep(0.5)
        print(servers.database.log.read_text()[-9000:])
        judged = Outcome(0, OBJECTS)
        judge(database, job, judged)
        print(judged)
        assert judged.breaches == []
