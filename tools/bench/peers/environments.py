"""The own environments of what Sluice is measured beside, which `scripts/setup peers` and `decoders` make of locks."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tools.cache import cache_folder

LOCKS = Path(__file__).parent


def environment_of(lock: Path) -> Path:
    """Return the folder of an environment that is installed."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = cache_folder() / "peers" / f"{lock.stem}-{digest[:12]}"
    if not (folder / "complete").exists():
        raise SystemExit(f"bench: no {folder}: run scripts/setup {lock.parent.name}")
    return folder


def version_of(name: str, package: str) -> str:
    """Return the version of a package that a lock has."""
    found = re.search(rf"^{re.escape(package)}(?:\[[^\]]*\])?==([^\s;]+)", lock_of(name).read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"bench: {lock_of(name)} has no {package}: run scripts/lock")
    return found[1]


def lock_of(name: str) -> Path:
    """Return a peer's lock."""
    return LOCKS / f"{name}.txt"
