"""The whole demo: its files, its output, and that nothing of it is left."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
from pathlib import Path

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
