"""The peers: how each is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Peer:
    """A peer; its environment is locked in NAME.txt, and made from NAME.in by scripts/lock."""

    name: str
    title: str
    package: str
    """Whose version is shown."""
    program: tuple[str, ...]
    """In the environment's bin folder, with its arguments; runs to its last row, or serves."""
    client: tuple[str, ...] = ()
    """For a server: what sends it the photos and writes the rows."""
    health: str = ""
    """The path where a server says that it is ready."""


PEERS: Final = (
    Peer("ray", "Ray Data", "ray", ("python", "-m", "tools.bench.peers.ray_data")),
    Peer("daft", "Daft", "daft", ("python", "-m", "tools.bench.peers.daft_frames")),
    Peer(
        "bentoml",
        "BentoML",
        "bentoml",
        (
            "bentoml",
            "serve",
            "tools.bench.peers.bentoml_service:ClassifierService",
            "--host=127.0.0.1",
            "--port={port}",
        ),
        client=("python", "-m", "tools.bench.peers.client", "bentoml"),
        health="readyz",
    ),
    Peer(
        "litserve",
        "LitServe",
        "litserve",
        ("python", "-m", "tools.bench.peers.litserve_server"),
        client=("python", "-m", "tools.bench.peers.client", "litserve"),
        health="health",
    ),
)
