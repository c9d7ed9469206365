"""A clock that can be stepped while its process runs, by libfaketime; without that library it can't.

For the database's alone: under libfaketime 0.9.10 Python's time.sleep fails with EINVAL, and the S3 server is a static
program. The workers take no decision by their wall clock; it is the database's that dates rows and listings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PLACES: Final = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
MOST_SECONDS: Final = 7200.0


class Clock:
    """One process's clock: right until it is stepped."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.clock"
        self.set_right()

    @property
    def variables(self) -> dict[str, str]:
        """What the process must have in its environment; empty where libfaketime is missing."""
        if not PLACES:
            return {}
        return {
            "LD_PRELOAD": str(PLACES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def step(self, strength: float) -> None:
        """Step by a part of the most, back for strengths below one half."""
        self._show(f"{(2 * strength - 1) * MOST_SECONDS:+.0f}\n")

    def set_right(self) -> None:
        """Show the true time again."""
        self._show("+0\n")

    def _show(self, offset: str) -> None:
        """Replace the file in one step: it may be read at any moment."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._file)
