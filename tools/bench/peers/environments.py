"""The peers' own environments, which `scripts/setup peers` makes of the locks in this folder."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tools.cache import cache_folder

LOCKS = Path(__file__).parent


def environment_of(name: str) -> Path:
    """Return the folder of an environment that is installed."""
    digest = hashlib.sha256(_lock(name).read_bytes()).hexdigest()
    folder = cache_folder() / "peers" / f"{name}-{digest[:12]}"
    if not (folder / "complete").exists():
        raise SystemExit(f"bench: no {folder}: run scripts/setup peers")
    return folder


def version_of(name: str, package: str) -> str:
    """Return the version of a package that a lock has."""
    found = re.search(rf"^{re.escape(package)}(?:\[[^\]]*\])?==([^\s;]+)", _lock(name).read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"bench: {_lock(name)} has no {package}: run scripts/lock")
    return found[1]


def _lock(name: str) -> Path:
    return LOCKS / f"{name}.txt"
