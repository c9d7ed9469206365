"""A clock that can be stepped while its process runs, with libfaketime; without that library it can't be.

Only for the database: under libfaketime 0.9.10 Python's time.sleep fails with EINVAL, and the S3 server is a static
program. The workers decide nothing by their wall clock; rows and listings have the database's time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PLACES: Final = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
MOST_SECONDS: Final = 7200.0


class Clock:
    """One process's clock: correct until it is stepped."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.clock"
        self.set_right()

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables that the process needs in its environment; empty if libfaketime is missing."""
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
        """Step by a part of the maximum, back for strengths below one half."""
        self._show(f"{(2 * strength - 1) * MOST_SECONDS:+.0f}\n")

    def set_right(self) -> None:
        """Restore the true time."""
        self._show("+0\n")

    def _show(self, offset: str) -> None:
        """Replace the file atomically, since it may be read at any time."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._file)
