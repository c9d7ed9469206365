"""What this machine or container really has, and how TorchServe's processes share it.

Whoever starts TorchServe asks here: the image's start, the scripts' stack, and the agent for what it adds later.
"""

from sluice.capacity.arrangement import NAME, Arrangement, arrange, needed_bytes, queue_size, read_arrangement
from sluice.capacity.limits import cores, has_gpu, memory_bytes, requests

__all__ = [
    "NAME",
    "Arrangement",
    "arrange",
    "cores",
    "has_gpu",
    "memory_bytes",
    "needed_bytes",
    "queue_size",
    "read_arrangement",
    "requests",
]
