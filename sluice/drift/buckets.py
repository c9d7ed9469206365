"""The statistics that are watched, and the fixed buckets that each is counted in.

Buckets never depend on the pictures: so the counts of any two windows, days or versions can be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import StrEnum
from typing import Final


class Statistic(StrEnum):
    """Something that is watched of each window; the first six are shares of buckets, the last two are rates."""

    LABEL = "label"
    SCORE = "score"
    BRIGHTNESS = "brightness"
    CONTRAST = "contrast"
    SHARPNESS = "sharpness"
    SIZE = "size"
    UNDECODABLE = "undecodable"
    INCORRECT = "incorrect"


PICTURE: Final = (Statistic.BRIGHTNESS, Statistic.CONTRAST, Statistic.SHARPNESS, Statistic.SIZE)
STATISTICS: Final = (Statistic.LABEL, Statistic.SCORE, *PICTURE)
"""Those that have buckets."""
RATES: Final = (Statistic.UNDECODABLE, Statistic.INCORRECT)

# Sharpness and size are counted by factors, since a difference of one means more where there is little.
EDGES: Final[dict[Statistic, tuple[float, ...]]] = {
    Statistic.SCORE: (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99),
    Statistic.BRIGHTNESS: tuple(float(edge) for edge in range(16, 256, 16)),
    Statistic.CONTRAST: tuple(float(edge) for edge in range(8, 120, 8)),
    Statistic.SHARPNESS: (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0),
    Statistic.SIZE: (32.0, 64.0, 128.0, 192.0, 256.0, 384.0, 512.0, 768.0, 1024.0, 1536.0, 2048.0, 3072.0, 4096.0),
}
"""Where buckets end; a value at an edge is in the bucket above."""


def bucket_of(statistic: Statistic, value: float) -> int:
    """Return the number of the bucket that a value is in."""
    return bisect_right(EDGES[statistic], value)


def bucket_name(statistic: Statistic, bucket: str) -> str:
    """Return what a bucket is called for people: a label, or a range."""
    if statistic not in EDGES:
        return bucket
    edges, number = EDGES[statistic], int(bucket)
    if number == 0:
        return f"below {edges[0]:g}"
    if number == len(edges):
        return f"{edges[-1]:g} and more"
    return f"{edges[number - 1]:g} to {edges[number]:g}"
