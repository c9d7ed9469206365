"""Full disks under everything except the database: logs, the bucket, TorchServe's folder."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sluice.ledger import Database, jobs, progress
from tools.stack import Leash, S3Server, Servers, SmallDisk, Stack, StackError, TorchServe, archive_of
from tools.storm.pictures import picture, pictures

OBJECTS = 100
LIMIT_SECONDS = 120.0
SLUICE = Path(sys.executable).parent / "sluice"


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    disk = SmallDisk(folder, megabytes)
    try:
        disk.mount()
    except StackError as error:
        pytest.skip(str(error))
    try:
        yield disk
    finally:
        disk.unmount()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_told(stack: Stack, *words: str) -> None:
    """Run sluice with its output on a full disk (/dev/full): it must exit with 1 and a sentence."""
    environment = {**stack.environment, "SLUICE_LOG_LEVEL": "info"}  # debug adds tracebacks
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SLUICE, *words], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_work_goes_on_without_a_log(mortal_servers: Servers) -> None:
    """Both processes start, work and end while nothing can be logged; with space, logging resumes."""
    mortal_servers.start()
    mortal_servers.s3.fill("unlogged", pictures(OBJECTS))
    with (
        small_disk(mortal_servers.folder / "full-logs", 1) as disk,
        Stack(mortal_servers, "unlogged", log_level="debug") as stack,
        Database(stack.settings) as database,
    ):
        workers = [stack.add_producer(), stack.add_consumer()]
        disk.fill()
        for worker in workers:
            worker.log = disk.folder / worker.log.name
            worker.start()
        for worker in workers:
            worker.wait_ready()

        def work() -> None:
            job = database.run(jobs.submit, "s3://unlogged", "noop")

            def is_done() -> bool:
                found = database.run(progress.progress, job)
                return found is not None and (found.state, found.done) == ("done", OBJECTS)

            wait_for(is_done)

        work()
        assert all(worker.metrics()["sluice_log_failures_total"] > 0 for worker in workers)
        disk.free()
        work()
        for wanted in ("csv", "jsonl", "table"):
            assert_told(stack, "results", "last", "--format", wanted)
        assert "job done" in stack.producers[0].log.read_text()
        disk.fill()
        assert [worker.stop() for worker in workers] == [0, 0]


def test_an_upload_to_a_full_bucket_says_so_and_is_finished_by_another(tmp_path: Path) -> None:
    for name, data in pictures(OBJECTS):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Leash() as leash, small_disk(tmp_path / "s3", 8) as disk:
        s3 = S3Server(tmp_path, leash)
        s3.start()
        s3.wait_ready()
        s3.fill("full", [("before.jpg", picture(OBJECTS))])

        def upload() -> subprocess.CompletedProcess[str]:
            environment = {**s3.environment, "SLUICE_S3_ENDPOINT": s3.endpoint}
            command = [str(SLUICE), "upload", str(tmp_path / "photos"), "s3://full/"]
            return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

        def contents() -> dict[str, bytes]:
            found = s3.client.list_objects_v2(Bucket="full").get("Contents", [])
            return {
                entry["Key"]: s3.client.get_object(Bucket="full", Key=entry["Key"])["Body"].read() for entry in found
            }

        disk.fill()
        done = upload()
        assert done.returncode == 3
        assert "the storage has no room: make some, or enlarge it" in done.stderr
        assert "credentials" not in done.stderr
        assert f"of {OBJECTS} files were uploaded: fix the cause, then run it again" in done.stderr
        expected = {"before.jpg": picture(OBJECTS), **dict(pictures(OBJECTS))}
        there = contents()
        assert there.items() <= expected.items()
        assert "before.jpg" in there
        disk.free()
        assert upload().returncode == 0
        assert contents() == expected
        s3.stop()


def test_torchserve_goes_on_with_a_full_disk_and_one_that_starts_on_it_needs_a_restart(tmp_path: Path) -> None:
    """A TorchServe that can't unpack its models stays up: its startup probe fails, and kubelet restarts it."""
    with Leash() as leash, small_disk(tmp_path / "torchserve", 64) as disk:
        server = TorchServe(tmp_path, leash, [archive_of("noop")])
        server.start()
        server.wait_ready()
        disk.fill()
        assert server.predicts("noop", picture(1))
        parts = psutil.Process(server.pid).children(recursive=True)
        for process in parts:
            if "model_service_worker" in " ".join(process.cmdline()):
                process.kill()
        wait_for(lambda: server.predicts("noop", picture(1)))

        server.kill()
        psutil.wait_procs(parts, LIMIT_SECONDS)
        shutil.rmtree(disk.folder / "tmp")
        disk.fill()
        server.start()
        wait_for(lambda: "No space left on device" in server.log.read_text())
        assert not server.predicts("noop", picture(1))
        disk.free()
        server.kill()
        server.start()
        server.wait_ready()
        server.stop()
