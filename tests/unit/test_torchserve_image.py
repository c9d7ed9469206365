"""The programs in TorchServe's container besides TorchServe: its start, and its probes."""

from __future__ import annotations

import http.server
import importlib.util
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sluice.capacity import Arrangement
from sluice.images import unpack

ROOT = Path(__file__).resolve().parents[2]


def program(name: str) -> ModuleType:
    """Load a program of the image by its path, because a package of PyPI is also called docker."""
    spec = importlib.util.spec_from_file_location(f"image_{name}", ROOT / f"docker/torchserve/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


probe, serve = program("probe"), program("serve")
SIZES = {"resize": 8, "crop": 6, "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
CARD = {"name": "noop", "version": "1.0", "preprocessing": SIZES}


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point both programs to a folder in place of the container's."""
    folder = tmp_path / "work"
    (folder / "logs").mkdir(parents=True)
    for module in (serve, probe):
        monkeypatch.setattr(module, "WORK", folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store with an archive and a file that isn't one."""
    folder = tmp_path / "store"
    folder.mkdir()
    with zipfile.ZipFile(folder / "noop.mar", "w") as archive:
        archive.writestr("model.json", json.dumps(CARD))
    (folder / "text.mar").write_text("no archive")
    return folder


def test_an_archive_that_is_not_there_is_named_beside_those_that_are(store: Path) -> None:
    with pytest.raises(SystemExit, match=r"no archive other\.mar in .*, which has noop\.mar, text\.mar"):
        serve.find(store, "noop.mar,other.mar")
    assert [path.name for path in serve.find(store, "")] == ["noop.mar", "text.mar"]


def test_lines_of_the_configuration_can_be_replaced(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference is the only open address, unless metrics are enabled."""
    monkeypatch.setattr(serve, "TEMPLATE", ROOT / "model_store/config.properties")
    words = ["--store", str(store), "--set", "job_queue_size=3", "--port", "8090"]
    plain = serve.configure(serve.parse(words), [store / "noop.mar"], Arrangement(5, 1)).splitlines()
    assert "default_workers_per_model=5" in plain
    assert "job_queue_size=3" in plain
    assert "job_queue_size=20" not in plain
    assert [line for line in plain if "0.0.0.0" in line] == ["inference_address=http://0.0.0.0:8090"]
    opened = serve.configure(serve.parse([*words, "--open-metrics"]), [store / "noop.mar"], Arrangement(1, 1))
    assert "metrics_address=http://0.0.0.0:8082" in opened
    assert "metrics_address=http://127.0.0.1" not in opened


def test_probes_are_told_what_to_ask(store: Path, work: Path) -> None:
    """A blank image of the model's own size; nothing if the archive can't be read."""
    serve.prepare_probes([store / "noop.mar", store / "text.mar"], 8080)
    told = json.loads((work / "probes.json").read_text())
    assert [model["path"] for model in told["models"]] == ["noop/1.0", ""]
    assert unpack(Path(told["models"][0]["batch"]).read_bytes()).shape == (1, 6, 6, 3)


Answers = dict[str, tuple[int, object]]


@pytest.fixture
def torchserve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answers], int]]:
    """Return a server with configurable answers: a real TorchServe can't be made busy or dying on demand."""
    servers = []

    def start(answers: Answers) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = answers[self.path.split("/")[1]]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_GET  # noqa: N815 - http.server's name

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(probe, "MANAGEMENT_PORT", server.server_port)
        return server.server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def workers(*states: str) -> tuple[int, object]:
    return 200, [{"workers": [{"status": state} for state in states]}]


@pytest.mark.parametrize(
    ("which", "answers", "expected"),
    [
        ("startup", {"predictions": (200, {}), "models": workers("READY", "READY")}, ""),
        (
            "startup",
            {"predictions": (200, {}), "models": workers("READY", "UNLOADING")},
            "one worker predicts, others are READY, UNLOADING",
        ),
        ("ready", {"predictions": (200, {})}, ""),
        ("ready", {"predictions": (503, {}), "models": workers("READY", "UNLOADING")}, ""),
        (
            "ready",
            {"predictions": (503, {}), "models": workers("UNLOADING")},
            "its worker is UNLOADING; KeyError: 'net'",
        ),
        ("ready", {"predictions": (500, {}), "models": workers("READY")}, "no prediction (500); its worker is READY"),
        ("startup", {"predictions": (503, {}), "models": workers("READY")}, "no prediction (503)"),
        ("startup", {"predictions": (503, {}), "models": (404, {})}, "its worker is unknown"),
    ],
)
def test_ready_is_who_predicts_or_is_only_busy(
    torchserve: Callable[[Answers], int], work: Path, which: str, answers: Answers, expected: str
) -> None:
    """A full queue isn't the fault of a worker that is READY; at the start, only a prediction counts."""
    (work / "logs/model_log.log").write_text("2026 [INFO] loading\n2026 [INFO] W-9000 KeyError: 'net'\n2026 [INFO] x\n")
    batch = work / "noop.batch"
    batch.write_bytes(b"body")
    model = {"archive": "/models/noop.mar", "path": "noop/1.0", "batch": str(batch)}
    why = probe.why_not(model, torchserve(answers), which)
    assert expected in why
    assert bool(expected) == bool(why)


def test_the_end_of_the_log_names_the_last_error(work: Path) -> None:
    (work / "logs/model_log.log").write_text(
        "W-9000 - ValueError: first\nW-9000 -   File x\nW-9000 - ModuleNotFoundError: No module named 'yaml'\nbye\n"
    )
    assert probe.cause_in_logs(work / "logs") == "ModuleNotFoundError: No module named 'yaml'"


def test_a_full_disk_is_said_before_what_a_log_says(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "logs").mkdir(exist_ok=True)
    (work / "logs" / "model_log.log").write_text("OSError: [Errno 2] a consequence\n")
    assert probe.full_disk() == ""
    monkeypatch.setattr(probe, "LEAST_ROOM", 1 << 62)
    assert f"the disk of {work} is full" in probe.full_disk()


def test_workers_import_the_archives_code_and_not_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/sluice")
    monkeypatch.setenv("HOME", "/tmp")
    told = serve.environment(3)
    assert "PYTHONPATH" not in told
    assert (told["HOME"], told["OMP_NUM_THREADS"]) == ("/tmp", "3")


def test_beside_an_agent_models_come_from_a_folder_that_both_can_write_to(
    store: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "TEMPLATE", ROOT / "model_store/config.properties")
    archives = serve.find(store, "noop.mar")
    for _ in range(2):  # a container that starts again finds its links
        assert serve.share(archives) == work / "store"
    assert (work / "store" / "noop.mar").read_bytes() == archives[0].read_bytes()
    words = ["--store", str(work / "store")]
    assert "enable_model_api=true" in serve.configure(serve.parse([*words, "--agent"]), archives, Arrangement(1, 1))
    plain = serve.configure(serve.parse(words), archives, Arrangement(1, 1)).splitlines()
    assert [line for line in plain if line.startswith("enable_model_api")] == ["enable_model_api=false"]
