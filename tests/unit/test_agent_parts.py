"""The agent's parts that need no server: memory, causes in logs."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from handlers.agent.causes import cause_in_logs
from handlers.agent.loading import Loader
from handlers.agent.management import LoadedVersion, Management
from handlers.agent.memory import MemoryRoom, room, write_usage
from handlers.agent.service import AgentService
from sluice.capacity import Arrangement, needed_bytes
from sluice.errors import LoadFailed
from sluice.ledger import AsyncLedger, Database
from sluice.ledger.serving import WantedVersion
from sluice.settings import read_settings
from sluice.store.shelf import ModelStore
from sluice.telemetry import Health, LedgerTelemetry

KIB = 1024
MACHINE = "MemTotal:       8000 kB\nMemFree:  1 kB\nMemAvailable:   3000 kB\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text(MACHINE)
    return path


def cgroup(folder: Path, limit: str, used: int = 0, cached: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 24\n")
    return folder


def test_there_is_as_much_room_as_container_and_machine_have(tmp_path: Path, machine: Path) -> None:
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", str(4000 * KIB), 3500 * KIB, 500 * KIB - 24))
    assert room(tmp_path, machine) == MemoryRoom(4000 * KIB, 1000 * KIB), "files in memory make room"
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", str(9000 * KIB), 24))
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB), "the machine has less"


def test_the_first_version_of_cgroups_tells_the_same(tmp_path: Path, machine: Path) -> None:
    folder = tmp_path / "cgroup" / "memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{4000 * KIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{3500 * KIB}\n")
    (folder / "memory.stat").write_text(
        f"inactive_file 1\ntotal_inactive_file {400 * KIB}\ntotal_active_file {100 * KIB}\n"
    )
    write_usage(tmp_path, tmp_path / "cgroup")
    assert room(tmp_path, machine) == MemoryRoom(4000 * KIB, 1000 * KIB)


def test_without_a_limit_nothing_is_written(tmp_path: Path, machine: Path) -> None:
    write_usage(tmp_path, cgroup(tmp_path / "cgroup", "max"))
    write_usage(tmp_path, tmp_path / "absent")
    assert not (tmp_path / "memory.json").exists()
    for nonsense in ("", "[1]", "{}", '["a", "b"]', "[null, 1]"):
        (tmp_path / "memory.json").write_text(nonsense)
        assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)


def loader(folder: Path, **settings: object) -> Loader:
    given = read_settings(agent_folder=folder, model_store=f"file://{folder}/store/", **settings)
    return Loader(given, Management(given.agent_management), ModelStore(given))


def wanted(*, is_live: bool, is_used: bool = False) -> WantedVersion:
    return WantedVersion(1, "drugs", "1.0", "d", "a" * 64, 1000, is_live, is_used, "")


def test_a_live_version_has_the_processes_that_torchserve_has_room_for(tmp_path: Path) -> None:
    """Memory for one more is left. What is only tried out gets one, and what was live keeps them while it is used."""
    one, choose = needed_bytes(1000, 1), loader(tmp_path)
    live, tried, retired = wanted(is_live=True), wanted(is_live=False, is_used=True), wanted(is_live=False)
    assert choose.workers(live) == 1, "a TorchServe that was started by a release that chose nothing"
    (tmp_path / "arrangement.json").write_text(Arrangement(3, 1).to_json())
    found = []
    for free in range(5):
        (tmp_path / "memory.json").write_text(json.dumps([free * one, 0]))
        found.append((choose.workers(live), choose.workers(live, has=1), choose.workers(live, has=3)))
    assert found == [(1, 1, 3), (1, 1, 3), (1, 2, 3), (2, 3, 3), (3, 3, 3)]
    assert [choose.workers(tried), choose.workers(tried, has=3), choose.workers(retired, has=3)] == [1, 3, 1]


def test_a_number_of_processes_that_is_set_is_every_versions(tmp_path: Path) -> None:
    (tmp_path / "arrangement.json").write_text(Arrangement(3, 1).to_json())
    choose = loader(tmp_path, agent_workers=2)
    assert [choose.workers(wanted(is_live=live), has=has) for live in (True, False) for has in (0, 3)] == [2] * 4


def test_an_agent_that_cant_use_its_bucket_blames_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version with a faulty archive can't be promoted until it is published again."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    settings = read_settings(agent_folder=tmp_path, model_store="s3://models/", s3_profile="none")
    faulty = Loader(settings, Management(settings.agent_management), ModelStore(settings))
    with pytest.raises(LoadFailed, match="SLUICE_S3_PROFILE") as failed:
        faulty.load(wanted(is_live=False))
    assert failed.value.fault == "server"


def test_a_cause_is_the_last_error_of_the_models_own_worker(tmp_path: Path) -> None:
    (tmp_path / "model_log.log").write_text(
        "W-9000-drugs_1.0-stdout - ValueError: mine\n"
        "W-9000-drugs_1.0-stdout - RuntimeError: 500 - Unknown exception\n"
        "W-9001-cats_1.0-stdout - KeyError: another's\nbye\n"
    )
    assert cause_in_logs(tmp_path, "drugs_1.0-") == "ValueError: mine"
    assert cause_in_logs(tmp_path) == "KeyError: another's"
    assert cause_in_logs(tmp_path, "dogs_1.0-") == ""


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """A model's code may write there, and the agent's environment has passwords."""
    (tmp_path / "secret").write_text("W-9000-drugs_1.0 PasswordError: hunter2\n")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "model_log.log").symlink_to(tmp_path / "secret")
    assert cause_in_logs(tmp_path / "logs") == ""


def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(tmp_path: Path, machine: Path) -> None:
    os.mkfifo(tmp_path / "model_log.log")
    os.mkfifo(tmp_path / "memory.json")
    assert cause_in_logs(tmp_path) == ""
    assert room(tmp_path, machine) == MemoryRoom(8000 * KIB, 3000 * KIB)


def test_torchserve_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the model store is behind leads to nothing in the pod."""
    described = {"modelVersion": "1.0", "modelUrl": "a.mar", "workers": [{"status": "READY"}]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = {"models": [{"modelName": "drugs", "modelUrl": "a.mar"}]}
            body = json.dumps(listed if self.path.startswith("/models?") else [described]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = Management(f"http://127.0.0.1:{server.server_address[1]}").versions()
        server.shutdown()
    assert found == {("drugs", "1.0"): LoadedVersion("a.mar", 1, is_ready=True, is_default=True)}


def test_an_agent_ends_although_the_ledger_never_answers(tmp_path: Path) -> None:
    settings = read_settings(model_store=f"file://{tmp_path}/", agent_folder=tmp_path)
    answered = threading.Event()

    async def stopped() -> None:
        ledger = AsyncLedger(Database(settings, LedgerTelemetry()))
        management = Management(settings.agent_management)
        loader = Loader(settings, management, ModelStore(settings))
        agent = AgentService(settings, Health(), ledger, management, loader, last_word_seconds=0.05)
        asked = asyncio.create_task(ledger.call(lambda _: answered.wait(60)))
        await asyncio.sleep(0)  # it has the connection's only thread now
        agent.stop()
        try:
            await agent.run()
            assert not asked.done()
        finally:
            answered.set()
            await asked
            ledger.close()

    asyncio.run(stopped())
