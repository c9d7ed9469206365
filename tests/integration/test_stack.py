"""The servers that tests and scripts use: they work, end when told to, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import requests

from sluice.ledger import Database, jobs, progress, query
from tools.photos import photograph
from tools.stack import ROOT, Leash, Server, Servers, Stack, StackError, Supervisor, TorchServe, free_port

SLEEPER = [sys.executable, "-c", "import subprocess, sys; subprocess.run(['sleep', '300'])"]


def wait_for(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    wait_for(parent.children)
    return [parent, *parent.children(recursive=True)]


def gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def test_ports_differ() -> None:
    assert len({free_port() for _ in range(50)}) == 50


def test_kill_ends_children_too(tmp_path: Path) -> None:
    with Leash() as leash:
        server = Server("sleeper", tmp_path, leash)
        server.spawn(SLEEPER, {})
        assert server.pid is not None
        processes = family(server.pid)
        server.kill()
        wait_for(lambda: gone(processes))
        assert server.exit_code == -signal.SIGKILL


def test_leash_ends_what_a_killed_program_started(tmp_path: Path) -> None:
    folder, another = tmp_path / "private", tmp_path / "in memory"
    folder.mkdir()
    another.mkdir()
    program = f"""
import time
from pathlib import Path
from tools.stack import Leash, Server
folder = Path({str(folder)!r})
server = Server("sleeper", folder, Leash(folder, Path({str(another)!r})))
server.spawn({SLEEPER!r}, {{}})
print(server.pid, flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        processes = family(int(parent.stdout.readline()))
        parent.kill()
    wait_for(lambda: gone(processes) and not folder.exists() and not another.exists())


def test_a_server_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    with Leash() as leash:
        server = Server("broken", tmp_path, leash)
        server.spawn([sys.executable, "-c", "raise SystemExit('the disk is on fire')"], {})
        with pytest.raises(StackError, match="the disk is on fire"):
            server.wait_until(lambda: False, 10.0)


class Touching(Server):
    """Is ready once it has written its file; ends at once as often as it is told to."""

    def __init__(self, folder: Path, leash: Leash, ends: int) -> None:
        super().__init__("touching", folder, leash)
        self.file = folder / "ready"
        self.ends = ends

    def start(self) -> None:
        self.file.unlink(missing_ok=True)
        end = "sys.exit('the disk is on fire')" if 0 < self.starts <= self.ends else ""
        program = f"import pathlib, sys, time; {end}\npathlib.Path({str(self.file)!r}).touch()\ntime.sleep(300)"
        self.spawn([sys.executable, "-c", program], {})

    def wait_ready(self, seconds: float = 60.0) -> None:
        self.wait_until(self.file.exists, seconds)


def test_what_is_killed_is_started_again_however_often(tmp_path: Path) -> None:
    said: list[str] = []
    with Leash() as leash:
        server = Touching(tmp_path, leash, 1)
        server.start()
        server.wait_ready()
        with Supervisor([server], said.append, tmp_path / "kept") as supervisor:
            for kill in range(1, 6):
                server.kill()
                wait_for(lambda kill=kill: said.count("touching is ready again") == kill)
                supervisor.check()
        server.kill()
    assert said.count("touching was ended by SIGKILL: starting it again") == 5
    assert said.count("touching ended with 1: starting it again") == 1
    assert server.starts == 7


def test_what_ends_again_and_again_is_given_up_and_its_log_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with Leash() as leash:
        server = Touching(tmp_path, leash, 99)
        server.start()
        server.wait_ready()
        with Supervisor([server], lambda _: None, kept) as supervisor:
            server.kill()
            with pytest.raises(StackError, match=r"touching ended with 1, 3 times before") as raised:
                wait_for(supervisor.check)
    assert f"its log is {kept / 'touching.log'}" in str(raised.value)
    assert (kept / "touching.log").read_text().count("the disk is on fire") == server.starts - 1 == 3


def test_a_database_shares_its_temporary_tables_with_no_other(servers: Servers, ledger: Database) -> None:
    """One that starts deletes what it finds in its folder for them."""
    ((folder,),) = ledger.run(query.ask, "SELECT @@tmpdir").rows
    assert Path(str(folder)) == servers.folder / "temporary"


def test_torchserve_answers_a_person_and_keeps_management_on_loopback(torchserve: TorchServe) -> None:
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port in torchserve.ports.values():
            assert connection.laddr.ip in {"127.0.0.1", "::ffff:127.0.0.1"}
    photo = photograph("china").read_bytes()
    answer = requests.put(f"{torchserve.address}/predictions/efficientnet-lite0", data=photo, timeout=30)
    assert next(iter(answer.json())) == "palace"


def test_an_object_becomes_a_row_and_workers_survive_a_kill(stack: Stack, bucket: str) -> None:
    client = stack.servers.s3.client
    client.put_object(Bucket=bucket, Key="none.jpg", Body=b"")
    client.put_object(Bucket=bucket, Key="text.jpg", Body=b"not a photo")
    stack.start_workers(consumers=1)
    stack.consumers[0].kill()
    stack.consumers[0].start()
    stack.consumers[0].wait_ready()
    with Database(stack.settings) as database:
        job = database.run(jobs.submit, f"s3://{bucket}")

        def done() -> bool:
            seen = database.run(progress.progress, job)
            return seen is not None and seen.state == "done" and seen.quarantined == 2

        wait_for(done, 60)
    assert stack.producers[0].metrics()["sluice_listed_total"] == 2
    assert stack.consumers[0].stop() == 0
    assert stack.producers[0].stop() == 0


def test_gateways_of_a_stack_answer_and_end_in_order(stack: Stack) -> None:
    first = stack.start_gateway(gateway_anonymous="user")
    second = stack.start_gateway(gateway_anonymous="user")
    assert first.url != second.url
    for gateway in (first, second):
        answer = requests.get(gateway.url, timeout=30)
        assert answer.status_code == 200
        assert "<form" in answer.text
    assert [gateway.stop() for gateway in (first, second)] == [0, 0]
