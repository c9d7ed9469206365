"""Tracks which processes have a fault now, and whether that explains that no rows appear."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator

from tools.storm.unknown.draw import Cast

SERVERS = ("database", "s3", "torchserve")


class Ailments:
    """Active faults by target. A stall is explained while a server, all consumers or a whole shard has a fault."""

    def __init__(self, cast: Cast) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, int] = defaultdict(int)
        self._consumers = [f"consumer-{number}" for number in range(cast.consumers)]
        producers = [f"producer-{number}" for number in range(cast.shards + 1)]
        # The last producer is a standby for shard 0.
        self._shards = [[producers[0], producers[-1]], *([name] for name in producers[1:-1])]

    def begin(self, victim: str) -> None:
        """Add a fault of a process, or of a link such as `*:database`."""
        self._count(victim, 1)

    def end(self, victim: str) -> None:
        """Remove a fault."""
        self._count(victim, -1)

    @contextlib.contextmanager
    def noted(self, victim: str) -> Iterator[None]:
        """Count a fault during the block."""
        self.begin(victim)
        try:
            yield
        finally:
            self.end(victim)

    def explain(self) -> bool:
        """Return whether active faults explain that no rows appear."""
        with self._lock:
            ill = {name for name, count in self._of.items() if count > 0}
        groups = [*([name] for name in SERVERS), self._consumers, *self._shards]
        return any(all(name in ill for name in group) for group in groups)

    def _count(self, victim: str, step: int) -> None:
        worker, _, to = victim.partition(":")
        with self._lock:
            if worker != "*":
                self._of[worker] += step
            elif to in SERVERS:
                self._of[to] += step
            else:
                for name in self._consumers:
                    self._of[name] += step
