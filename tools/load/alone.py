"""One person at a time: what the gateway adds to TorchServe's own answer, and what a repeated picture costs."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Final

import requests

from tools.load.pictures import JPEG, distinct, pictures

TIMEOUT: Final = 60.0
WARM_UP: Final = 20


def measure_alone(direct: str, gateway: str, photos: Path, times: int, seed: str) -> dict[str, list[float]]:
    """Return seconds of each answer: of TorchServe, of the gateway for the same new picture, and for it once more.

    The two take turns in who comes first, so a machine that changes its speed changes it for both.
    """
    found: dict[str, list[float]] = {"direct": [], "gateway": [], "again": []}
    with requests.Session() as session:
        for number, photo in zip(range(WARM_UP + times), pictures(photos), strict=False):
            data = distinct(photo, f"{seed} {number}")
            turns = [("direct", direct), ("gateway", gateway)]
            for name, url in (*(turns if number % 2 else reversed(turns)), ("again", gateway)):
                found[name].append(_seconds(session, url, data))
    return {name: seconds[WARM_UP:] for name, seconds in found.items()}


def added(found: dict[str, list[float]]) -> float:
    """Return the median of what the gateway took longer than TorchServe, picture by picture."""
    return statistics.median(ours - theirs for ours, theirs in zip(found["gateway"], found["direct"], strict=True))


def _seconds(session: requests.Session, url: str, data: bytes) -> float:
    began = time.perf_counter()
    answer = session.post(url, data=data, headers=JPEG, timeout=TIMEOUT)
    took = time.perf_counter() - began
    answer.raise_for_status()
    return took
