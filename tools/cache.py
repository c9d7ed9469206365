"""The folder where what is slow to make is kept between runs: the one that scripts/paths.sh names."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return SLUICE_CACHE, or `sluice` in the person's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SLUICE_CACHE") or Path(base) / "sluice")
