"""The command in the test's own process, and a job to show: a folder of odd names, all classified except two."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sluice import cli
from sluice.domain import ListedObject
from sluice.ledger import (
    LedgerCursor,
    Prediction,
    QuarantineEntry,
    jobs,
    listing,
    models,
    objects,
    predictions,
)

Sluice = Callable[..., tuple[int, str, str]]

KEYS = [
    b"=formula.jpg",
    b"[bold]markup[bold].jpg",
    b"esc\x1b[31mred.jpg",
    b"line\nbreak.jpg",
    b'quo"te,comma.jpg',
    "aünï.jpg".encode(),
    b"y.jpg",
    b"z.jpg",
]


def add_done_job(cursor: LedgerCursor, photos: Path) -> int:
    """Insert a done job on the folder: the last two objects quarantined, the rest classified."""
    model = models.register(cursor, "m", "1", "a" * 64, {"resize": 2}, ["cat"])
    models.promote(cursor, "m", "1")
    job = jobs.submit(cursor, f"file://{photos}")
    jobs.start(cursor, job, model.id)
    found = [(key, (photos / key.decode()).stat()) for key in sorted(KEYS)]
    page = [ListedObject(key, f"{stat.st_mtime_ns}-{stat.st_size}", stat.st_size) for key, stat in found]
    listing.add_page(cursor, job, page, repeat_no=0, last=True, repeats=1)
    pending = objects.pending(cursor, job, 0, 100)
    predictions.commit(
        cursor,
        [
            Prediction(
                row.id, job, model.id, "=cat", 0.75, (("=cat", 0.75),), hashlib.sha256(row.key * 3).digest(), "c"
            )
            for row in pending[:-2]
        ],
    )
    objects.quarantine(cursor, [QuarantineEntry(row.id, "truncated", "cut\x1b[2J off") for row in pending[-2:]])
    assert jobs.finish(cursor, job)
    return job


def run_in_process(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Sluice:
    """Return the command, run in this process: it returns exit code, output and standard error.

    `piped` is its standard input.
    """
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str | int | Path, piped: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sluice", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return run


def odd_photos(folder: Path) -> Path:
    """Make a folder of files with odd names, and return it."""
    folder.mkdir()
    for key in KEYS:
        (folder / key.decode()).write_bytes(key * 3)
    return folder
