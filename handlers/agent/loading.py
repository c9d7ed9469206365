"""From a row to a served version: memory looked at, bytes fetched and checked, loaded, asked for its card.

Each step that fails says whether the archive is at fault, wherever it would be loaded, or only this server now.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import Final

from handlers.agent import memory
from handlers.agent.causes import cause_in_logs
from handlers.agent.management import Management
from handlers.agent.shared import read_end
from sluice import capacity
from sluice.errors import ConfigurationError, LoadFailed, SourceError
from sluice.ledger.serving import WantedVersion
from sluice.settings import Settings
from sluice.store.archive import check_archive
from sluice.store.shelf import ModelStore

STORE: Final = "store"
LOGS: Final = "logs"
ARRANGEMENT_BYTES: Final = 1024
LOG_SECONDS: Final = 2.0
LOG_PAUSE: Final = 0.1
MIB: Final = 1024 * 1024
FILE: Final = re.compile(r"[0-9a-f]{64}\.mar")
PART: Final = re.compile(r"\.[0-9a-f]{64}\.part")


class Loader:
    """What is done in TorchServe's folder and at its management port; all calls may take long."""

    def __init__(self, settings: Settings, management: Management, store: ModelStore) -> None:
        self._settings = settings
        self._management = management
        self._store = store
        self._folder = settings.agent_folder
        self._archives = self._folder / STORE

    def load(self, version: WantedVersion) -> None:
        """Have TorchServe serve a version; LoadFailed says why it can't."""
        workers = self.workers(version)
        self._look_at_memory(version, workers)
        self._have(version)
        why = self._management.register(file_of(version), workers)
        if why:
            # TorchServe may keep a version whose workers failed, and start them again for minutes.
            self._management.unregister(version.name, version.version)
            said = self._cause(f"{version.name}_{version.version}-")
            raise LoadFailed(f"TorchServe can't load it ({why})" + (f": {said}" if said else ""), "model")
        self.check(version)

    def workers(self, version: WantedVersion, has: int = 0) -> int:
        """Return how many processes a version shall have that has so many.

        Unless it is set, a live one gets as many as TorchServe's own models, if that leaves memory for one more; a
        version that only a trial or nobody asks gets one, and takes few cores from the live one. What is no longer live
        keeps what it has while jobs use it.
        """
        if self._settings.agent_workers is not None:
            return self._settings.agent_workers
        if not version.is_live:
            return max(1, has) if version.is_used else 1
        try:
            arranged = capacity.read_arrangement(read_end(self._folder / capacity.NAME, ARRANGEMENT_BYTES))
        except OSError:  # of a release that chose nothing
            arranged = None
        spare = memory.room(self._folder).free // capacity.needed_bytes(version.size, 1) - 1
        return max(1, has, min(arranged.workers if arranged else 1, has + spare))

    def check(self, version: WantedVersion) -> None:
        """Ask a version that TorchServe has whether it is the row's."""
        digest = self._management.card(version.name, version.version).get("digest")
        if digest is None:
            raise LoadFailed(f"TorchServe gives no card of {version.name}@{version.version}: does a worker answer?")
        if digest != version.digest:
            raise LoadFailed(
                f"TorchServe has another {version.name}@{version.version}, of digest {str(digest)[:12]}: give the new "
                f"archive another version, or take the old one out of TorchServe's image"
            )

    def forget_files(self, wanted: set[str]) -> None:
        """Remove archives that nobody wants any more, and what an agent left that was killed."""
        self._archives.mkdir(parents=True, exist_ok=True)
        for path in self._archives.iterdir():
            if PART.fullmatch(path.name) or (FILE.fullmatch(path.name) and path.name not in wanted):
                path.unlink(missing_ok=True)

    def _cause(self, worker: str) -> str:
        """Return what a worker printed last; TorchServe writes its logs a moment later than its answers."""
        until = time.monotonic() + LOG_SECONDS
        while not (said := cause_in_logs(self._folder / LOGS, worker)) and time.monotonic() < until:
            time.sleep(LOG_PAUSE)
        return said

    def _look_at_memory(self, version: WantedVersion, workers: int) -> None:
        needs = capacity.needed_bytes(version.size, workers)
        room = memory.room(self._folder)
        if needs > room.most:
            raise LoadFailed(
                f"it needs about {needs // MIB:,} MiB of memory, TorchServe may use {room.most // MIB:,} MiB in all: "
                f"raise its memory, or make the model smaller",
                "archive",
            )
        if needs > room.free:
            raise LoadFailed(
                f"it needs about {needs // MIB:,} MiB of memory, {room.free // MIB:,} MiB are free: retire another "
                f"version, or raise TorchServe's memory",
                "memory",
            )

    def _have(self, version: WantedVersion) -> None:
        """Have a version's archive in TorchServe's store, and look at it: one that was there may have been changed."""
        part, archive = self._archives / f".{version.sha256}.part", self._archives / file_of(version)
        try:
            self._archives.mkdir(parents=True, exist_ok=True)
            if not self._is_whole(archive, version):
                part.unlink(missing_ok=True)
                self._store.fetch(version.name, version.version, version.sha256, part)
                part.rename(archive)
            self._check(version, archive)
        except ConfigurationError as error:
            raise LoadFailed(str(error), "archive") from error
        except SourceError as error:
            raise LoadFailed(str(error)) from error
        except OSError as error:
            raise LoadFailed(f"{self._archives} can't be written ({error.strerror}): is its disk full?") from error
        finally:
            part.unlink(missing_ok=True)

    def _is_whole(self, archive: Path, version: WantedVersion) -> bool:
        if not archive.exists():
            return False
        with archive.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == version.sha256

    def _check(self, version: WantedVersion, archive: Path) -> None:
        """Raise ConfigurationError if an archive may not be loaded, or is another version's."""
        url = self._store.url(version.name, version.version, version.sha256)
        card = check_archive(archive, self._settings.model_max_bytes, url).card
        told = (card["name"], card["version"], card["digest"])
        if told != (version.name, version.version, version.digest):
            raise ConfigurationError(f"{url} says of itself that it is {told[0]}@{told[1]}: publish the right one")


def file_of(version: WantedVersion) -> str:
    """Return the name of a version's archive in TorchServe's store."""
    return f"{version.sha256}.mar"


def is_own(file: str) -> bool:
    """Return whether an agent put an archive into TorchServe's store."""
    return FILE.fullmatch(Path(file).name) is not None
