"""How many processes TorchServe has for a model, and how many threads each of them.

Processes of one thread each answer somewhat more pictures than one process with as many threads, which wait for each
other after each layer (docs/benchmarks.md). So there are as many as cores, unless memory is short: each process has its
own copy of the network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

MIB: Final = 1024 * 1024
FRONTEND_BYTES: Final = 600 * MIB
"""Of TorchServe's Java process."""
PROCESS_BYTES: Final = 900 * MIB
"""Of a worker without weights: Python, torch, and a batch of pictures with what a network makes of it."""
COPIES: Final = 2
"""Weights are read, then laid out for the processor."""
WORKERS_MOST: Final = 32
"""Of one model: a machine of many cores gives each process several threads rather than hold more copies."""
QUEUE_LEAST: Final = 16
QUEUE_PER_WORKER: Final = 4
LATER: Final = 2
"""Processes that memory is left for where an agent adds models: a new version, and one that is tried out."""
NAME: Final = "arrangement.json"
"""Where TorchServe's start leaves it for the agent, in the folder that both have."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Processes of each model, and threads of each process."""

    workers: int
    threads: int

    def to_json(self) -> str:
        """Return it as `read_arrangement` wants it."""
        return json.dumps(asdict(self))


def read_arrangement(text: str | bytes) -> Arrangement | None:
    """Return what was written; None if it is nothing of the kind."""
    try:
        told = json.loads(text)
        workers, threads = int(told["workers"]), int(told["threads"])
    except (ValueError, TypeError, KeyError):
        return None
    return Arrangement(workers, threads) if 1 <= workers <= WORKERS_MOST and threads >= 1 else None


def needed_bytes(archive_bytes: int, workers: int) -> int:
    """Return the bytes that a model will use, about: each worker has its own weights."""
    return workers * (PROCESS_BYTES + COPIES * archive_bytes)


def queue_size(workers: int) -> int:
    """Return how many requests of a model may wait: a few for each process."""
    return max(QUEUE_LEAST, QUEUE_PER_WORKER * workers)


def arrange(
    cores: int,
    memory: int,
    archives: Sequence[int],
    *,
    workers: int | None = None,
    threads: int | None = None,
    has_gpu: bool = False,
    has_agent: bool = False,
) -> Arrangement:
    """Return the arrangement for archives of these sizes; `workers` and `threads` are what somebody has set.

    On a GPU one process is enough to keep it busy, and another would need its memory.
    """
    is_chosen = workers is None and not has_gpu
    if workers is None:
        workers = 1 if has_gpu else _fitting(cores, memory, archives, LATER if has_agent else 0)
        if threads is not None:
            workers = min(workers, max(1, cores // threads))
    if threads is None:
        # Models are seldom all at work: where processes are chosen, each model's fill all cores.
        threads = max(1, cores // (workers if is_chosen else workers * max(1, len(archives))))
    return Arrangement(workers, threads)


def _fitting(cores: int, memory: int, archives: Sequence[int], later: int) -> int:
    """Return the number of processes that memory allows and that leaves the fewest cores idle."""
    room = memory - FRONTEND_BYTES - needed_bytes(max(archives, default=0), later)
    one_each = sum(needed_bytes(size, 1) for size in archives)
    most = max(1, min(cores, WORKERS_MOST, room // max(1, one_each)))
    return max(range(1, most + 1), key=lambda count: (count * (cores // count), count))
