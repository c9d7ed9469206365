"""Counts of a window in buckets, and the row of numbers that stands for a prediction until it is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

from sluice.drift.buckets import STATISTICS, Statistic, bucket_of
from sluice.drift.measures import PictureMeasures

CountedValue = tuple[Statistic, float, int]
"""A number, and the bucket that it is in."""


@dataclass(frozen=True, slots=True)
class MeasuredPrediction:
    """A prediction with what was measured of its picture; nothing, if its answer was known without decoding it."""

    object_id: int
    label: str
    score: float
    measures: PictureMeasures | None = None

    def pack(self) -> list[Any]:
        """Return it as a short row of JSON."""
        first = [self.object_id, self.label, round(self.score, 6)]
        if (found := self.measures) is None:
            return first
        levels = (round(found.brightness, 2), round(found.contrast, 2), round(found.sharpness, 3))
        return [*first, *levels, found.width, found.height]

    @classmethod
    def unpack(cls, row: list[Any]) -> Self:
        """Return what `pack` made a row of."""
        object_id, label, score, *measured = row
        return cls(int(object_id), str(label), float(score), PictureMeasures(*measured) if measured else None)

    def counted(self) -> list[CountedValue]:
        """Return the numbers that are counted in buckets."""
        values = [(Statistic.SCORE, self.score)]
        if (found := self.measures) is not None:
            values += [
                (Statistic.BRIGHTNESS, found.brightness),
                (Statistic.CONTRAST, found.contrast),
                (Statistic.SHARPNESS, found.sharpness),
                (Statistic.SIZE, found.size),
            ]
        return [(statistic, value, bucket_of(statistic, value)) for statistic, value in values]

    def buckets(self) -> dict[Statistic, str]:
        """Return the bucket that each statistic is in."""
        return {Statistic.LABEL: self.label, **{statistic: str(bucket) for statistic, _, bucket in self.counted()}}


@dataclass(slots=True)
class WindowCounts:
    """How many pictures of a window are in each bucket, and the sums that means are made of."""

    buckets: dict[Statistic, Counter[str]] = field(default_factory=dict)
    sums: dict[Statistic, float] = field(default_factory=dict)
    rates: dict[Statistic, tuple[int, int]] = field(default_factory=dict)
    """Of how many pictures something was so: how many, of how many."""

    def add(self, label: str, counted: list[CountedValue]) -> None:
        """Count a prediction by its label and its numbers."""
        self._count(Statistic.LABEL, label)
        for statistic, value, bucket in counted:
            self._count(statistic, str(bucket))
            self.sums[statistic] = self.sums.get(statistic, 0.0) + value

    def _count(self, statistic: Statistic, bucket: str) -> None:
        found = self.buckets.get(statistic)
        if found is None:
            found = self.buckets[statistic] = Counter()
        found[bucket] += 1

    def total(self, statistic: Statistic) -> int:
        """Return how many pictures were counted of a statistic."""
        return self.buckets.get(statistic, Counter()).total()

    def mean(self, statistic: Statistic) -> float | None:
        """Return a statistic's mean; labels have none."""
        total = self.total(statistic)
        return self.sums[statistic] / total if total and statistic in self.sums else None

    def only(self, wanted: tuple[Statistic, ...]) -> WindowCounts:
        """Return the counts of some statistics."""
        return WindowCounts(
            {each: Counter(self.buckets[each]) for each in wanted if each in self.buckets},
            {each: self.sums[each] for each in wanted if each in self.sums},
            {each: self.rates[each] for each in wanted if each in self.rates},
        )

    def has(self, statistic: Statistic, least: int) -> bool:
        """Return whether there are so many pictures of a statistic."""
        return max(self.total(statistic), self.rates.get(statistic, (0, 0))[1]) >= least

    def complete(self, others: WindowCounts, least: int) -> bool:
        """Take over the statistics that are missing here; return whether there was any."""
        missing = tuple(each for each in Statistic if others.has(each, least) and not self.has(each, least))
        found = others.only(missing)
        self.buckets |= found.buckets
        self.sums |= found.sums
        self.rates |= found.rates
        return bool(missing)

    def pack(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "buckets": {str(each): dict(self.buckets[each]) for each in STATISTICS if each in self.buckets},
            "sums": {str(each): round(value, 3) for each, value in self.sums.items()},
            "rates": {str(each): list(rate) for each, rate in self.rates.items()},
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """Return what `pack` made JSON of; statistics of a newer version are left out."""
        known = {str(each): each for each in Statistic}
        return cls(
            {known[name]: Counter(found) for name, found in packed.get("buckets", {}).items() if name in known},
            {known[name]: float(found) for name, found in packed.get("sums", {}).items() if name in known},
            {known[name]: (int(n), int(of)) for name, (n, of) in packed.get("rates", {}).items() if name in known},
        )
