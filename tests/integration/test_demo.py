"""The whole demo: its files, its output, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image

from tests.support.signals import ctrl_c_heard
from tools import demo, photos
from tools.stack import ROOT

FEW = 60
"""Enough for each photograph, each format and each kind of JPEG."""
COMMAND = [sys.executable, "-m", "tools.demo", "--once"]


def left_behind(output: str) -> bool:
    folder = re.search(r"TorchServe in (\S+), on free ports", output)
    assert folder is not None
    return Path(folder[1]).exists()


def test_photos_differ_and_are_the_same_at_each_run() -> None:
    made = dict(photos.photos(demo.PHOTOS))
    assert len({hashlib.sha256(data).digest() for data in made.values()}) == demo.PHOTOS == len(made)
    assert dict(photos.photos(30)) == dict(list(made.items())[:30])


def test_there_are_20_bad_files() -> None:
    assert len(dict(photos.bad_files())) == 20


def test_every_photo_gets_its_row_every_bad_file_its_reason_and_the_page_is_there(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    command = [*COMMAND, "--photos", str(FEW), "--output", str(sheet)]
    output, page = "", None
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            output += line
            # The page is only up while the photos are classified.
            if shown := re.search(r"the page is (\S+)", line):
                page = requests.get(shown[1], timeout=60)
    assert running.returncode == 0, output
    assert f"{FEW} done, 20 quarantined" in output
    for reason in ("empty", "not_an_image", "truncated", "corrupt", "too_many_pixels"):
        assert reason in output
    with Image.open(sheet) as opened:
        assert opened.width > 2000
    assert page is not None
    assert page.status_code == 200
    assert 'type="file"' in page.text
    assert re.search(r"its admin, for this run: admin@localhost, password \S{12,}", output)
    assert not left_behind(output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_cleans_up_when_it_is_stopped(number: signal.Signals) -> None:
    with ctrl_c_heard():
        running = subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with running:
        assert running.stdout is not None
        output = ""
        while "database is ready" not in output:
            output += running.stdout.readline()
        running.send_signal(number)
        running.communicate(timeout=60)
        assert running.returncode == 128 + number
    assert not left_behind(output)


LIMIT_SECONDS = 300.0


class DemoOnTerminal:
    """A demo that stays up, as somebody sees it who has a terminal."""

    def __init__(self, output: Path) -> None:
        self.said = ""
        self._screen, terminal = pty.openpty()
        command = [sys.executable, "-m", "tools.demo", "--photos", str(FEW), "--output", str(output)]
        with ctrl_c_heard():
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
            )
        os.close(terminal)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str, times: int = 1) -> str:
        """Wait until it has said something so often; return all that it has said."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.said.count(text) < times:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return self.said

    def pids(self, *words: str) -> list[int]:
        """Return its processes whose command line has all the words."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if set(words) <= {part.rpartition("/")[2] for part in child.cmdline()}:
                    found.append(child.pid)
        return found

    def stop(self) -> int:
        """Press Ctrl-C, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(60)
        self._reader.join()
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # as a terminal ends
            while data := os.read(self._screen, 65536):
                self.said += data.decode(errors="replace").replace("\r\n", "\n")
        os.close(self._screen)


@contextlib.contextmanager
def demos(*outputs: Path) -> Iterator[list[DemoOnTerminal]]:
    with contextlib.ExitStack() as started:
        shown = []
        for output in outputs:
            shown.append(DemoOnTerminal(output))
            started.callback(shown[-1].process.kill)
        yield shown


def picture_gets_its_answer(said: str) -> bool:
    shown = re.search(r"the page is (\S+)/ and asks nobody", said)
    assert shown is not None
    photo = next(iter(photos.photos(1)))[1]
    answer = requests.post(f"{shown[1]}/api/v1/predictions", files={"file": photo}, timeout=60)
    return answer.ok and bool(answer.json())


def test_any_part_may_be_killed_and_is_started_again_beside_a_second_demo(tmp_path: Path) -> None:
    parts = {
        "consumer-0": ("-m", "consumer"),
        "producer-0": ("-m", "producer"),
        "gateway-0": ("-m", "gateway"),
        "agent-0": ("-m", "handlers.agent"),
        "database": ("mariadbd",),
        "s3": ("versitygw",),
        "torchserve": ("java",),
    }
    with demos(tmp_path / "one.png", tmp_path / "two.png") as (shown, other):
        shown.wait_for("$ sluice submit")
        os.kill(shown.pids("-m", "producer")[0], signal.SIGKILL)
        for each in (shown, other):
            assert f"{FEW} done, 20 quarantined" in each.wait_for("All of it stays up until Ctrl-C")
        shown.wait_for("producer-0 is ready again")
        for name, words in parts.items():
            before = shown.said.count(f"{name} is ready again")
            os.kill(shown.pids(*words)[0], signal.SIGKILL)
            shown.wait_for(f"{name} is ready again", before + 1)
            assert re.search(rf"\] {name} (was ended by SIGKILL|ended with -?\d+): starting it again", shown.said)
        for worker in shown.pids("model_service_worker.py"):
            os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + LIMIT_SECONDS
        while not picture_gets_its_answer(shown.said):
            assert time.monotonic() < deadline
        assert picture_gets_its_answer(other.said)
        assert "starting it again" not in other.said
        pages = {page for each in (shown, other) for page in re.findall(r"the page is (\S+)/ and asks", each.said)}
        assert len(pages) == 2
        for each in (shown, other):
            assert each.stop() == 0
            assert "nothing is left running" in each.said
            assert not left_behind(each.said)
