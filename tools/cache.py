"""The folder for things that are slow to make, kept between runs; the same as scripts/paths.sh uses."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return SLUICE_CACHE, or `sluice` in the person's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SLUICE_CACHE") or Path(base) / "sluice")
