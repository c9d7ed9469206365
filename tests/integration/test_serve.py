"""scripts/torchserve, which the README tells people to start by hand."""

from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import requests

from tests.support.signals import ctrl_c_heard
from tools.photos import photograph
from tools.stack import ROOT, free_port


def test_it_answers_on_its_port_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    with log.open("w") as output, ctrl_c_heard():
        process = subprocess.Popen(
            [ROOT / "scripts" / "torchserve", "noop", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f"http://127.0.0.1:{port}/predictions/noop" in line, log.read_text()
    answer = requests.post(
        f"http://127.0.0.1:{port}/predictions/noop", data=photograph("china").read_bytes(), timeout=30
    )
    assert len(answer.json()) == 10
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [ROOT / "scripts" / "torchserve", "noop", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"scripts/torchserve: port {port} of 127.0.0.1 can't be used (Address already in use): end what has it, "
        "or give another with --port\n"
    )


def test_an_archive_that_is_not_there_is_named_with_the_remedy() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "torchserve", "nonsense"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "nonsense.mar" in done.stderr
    assert "scripts/build-model nonsense" in done.stderr
