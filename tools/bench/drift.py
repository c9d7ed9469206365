"""Measure how soon drift is noticed, how often there is a false alarm, and what it costs, on a real database.

Pictures with given labels and brightness are committed as consumers do it, and counted as producers do it, in windows
of 1,000. Each of the models begins with a reference, then come 50 windows of the same kind; then, from the middle of a
window on, either brightness is halved or 20 points of the labels go to another one. It prints the alarms of stable
windows, after how many changed pictures the alarm came, and how long a commit takes with and without what it measured.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

from sluice.domain import ListedObject
from sluice.drift import PictureMeasures
from sluice.drift.measuring import measure
from sluice.images import decode_sized
from sluice.ledger import (
    Database,
    LedgerCursor,
    Prediction,
    drift_pages,
    drifting,
    jobs,
    listing,
    models,
    objects,
    predictions,
)
from tools.bench import host
from tools.bench.decoding import MAX_PIXELS, SPEC, cost
from tools.photos import photos
from tools.stack import Servers, Stack, orderly_end

WINDOW: Final = 1000
DAYS: Final = 400
BATCH: Final = 32
COMMITS: Final = 300
PHOTOS: Final = 60
PASSES: Final = 20
DECODING_PASSES: Final = 3
MIXES: Final[dict[str, list[float]]] = {
    "two labels": [0.5, 0.5],
    "ten labels": [0.1] * 10,
    "a thousand labels": [1 / (place + 1) for place in range(1000)],
}


class Camera:
    """Makes pictures of a kind, and classifies them by a version of its own."""

    def __init__(self, database: Database, name: str, shares: Sequence[float], dice: random.Random) -> None:
        self._database, self._shares, self._dice = database, list(shares), dice
        self._labels = [f"label-{place}" for place in range(len(shares))]
        self._light = 1.0
        self._made = 0
        self.model_id, self._job = database.run(self._begin, name)

    def darken(self) -> None:
        """Halve the brightness from now on."""
        self._light = 0.5

    def shift(self) -> None:
        """Let 20 points of the most frequent labels go to the last one."""
        left, total = 0.2 * sum(self._shares), sum(self._shares)
        for place in range(len(self._shares) - 1):
            taken = min(left, self._shares[place])
            self._shares[place] -= taken
            left -= taken
        self._shares[-1] += 0.2 * total - left

    def classify(self, count: int, batch: int = 250) -> None:
        """Commit so many predictions."""
        for first in range(0, count, batch):
            rows = self.rows(min(batch, count - first))
            self._database.run(predictions.commit, rows)

    def rows(self, count: int, *, measured: bool = True) -> list[Prediction]:
        """List so many objects, and return their predictions."""
        ids = self._database.run(self._list, count)
        labels = self._dice.choices(self._labels, self._shares, k=count)
        return [
            Prediction(i, self._job, self.model_id, label, score, ((label, score),) * 5, b"\0" * 32, "bench", shot)
            for i, label in zip(ids, labels, strict=True)
            for score in [self._dice.betavariate(6, 1.5)]
            for shot in [self._shot() if measured else None]
        ]

    def count(self) -> None:
        """Count what was committed."""
        while self._database.run(drifting.count, self.model_id, WINDOW, DAYS):
            pass

    def alarms(self) -> set[str]:
        """Return what drifted in the last whole window."""
        (version,) = self._database.run(drift_pages.versions, self.model_id)
        return {each.statistic for each in version.findings if each.alarm}

    def _shot(self) -> PictureMeasures:
        level = min(250.0, max(2.0, self._dice.gauss(115, 40))) * self._light
        sharpness = self._dice.gammavariate(3, 3) * self._light
        return PictureMeasures(level, level * self._dice.uniform(0.3, 0.6), sharpness, 640, 480)

    def _begin(self, cursor: LedgerCursor, name: str) -> tuple[int, int]:
        model = models.register(cursor, name, "1", "1" * 64, {"resize": 256}, self._labels)
        models.promote(cursor, name, "1")
        job = jobs.submit(cursor, f"s3://camera/{name}", f"{name}@1")
        jobs.start(cursor, job, model.id)
        return model.id, job

    def _list(self, cursor: LedgerCursor, count: int) -> list[int]:
        keys = [f"{self._made + place:09}".encode() for place in range(count)]
        page = [ListedObject(key, "e", 1) for key in keys]
        listing.add_page(cursor, self._job, page, repeat_no=0, last=False, repeats=1)
        self._made += count
        return [each.id for each in objects.pending(cursor, self._job, 0, count)]


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=50, help="stable windows of each kind (50)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    clocks = host.clocks()
    with orderly_end(), Servers(models=["noop"]) as servers:
        servers.start(servers.database)
        with Stack(servers, "drift") as stack, Database(stack.settings) as database:
            dice = random.Random(options.seed)  # noqa: S311 - a simulation
            print("| pictures of | stable windows | false alarms | change | alarm after |")
            print("| --- | --- | --- | --- | --- |")
            for place, (mix, shares) in enumerate(MIXES.items()):
                for change in ("brightness halved", "20 points of labels"):
                    _simulate(database, f"m{place}-{change[0]}", (mix, shares), change, options.windows, dice)
            print()
            _cost(database, dice)
    _measuring()
    print(f"\nThe host gave {host.stolen(clocks):.0%} of the processors to others meanwhile.")


def _simulate(
    database: Database, name: str, kind: tuple[str, list[float]], change: str, windows: int, dice: random.Random
) -> None:
    mix, shares = kind
    camera = Camera(database, name, shares, dice)
    camera.classify(WINDOW)
    false = 0
    for _ in range(windows):
        camera.classify(WINDOW)
        camera.count()
        false += bool(camera.alarms())
    # The worst place for a change: too late in a window to move it.
    camera.classify(WINDOW // 2 + 100)
    expected = "label" if change.endswith("labels") else "brightness"
    if expected == "label":
        camera.shift()
    else:
        camera.darken()
    changed = 0
    while changed < 2 * WINDOW and expected not in camera.alarms():
        camera.classify(100)
        camera.count()
        changed += 100
    told = f"{changed:,} pictures" if expected in camera.alarms() else "never"
    print(f"| {mix} | {windows} | {false} | {change} | {told} |", flush=True)


def _cost(database: Database, dice: random.Random) -> None:
    """Print how long commits take with and without a tally, in turns, and what counting takes."""
    camera = Camera(database, "cost", MIXES["a thousand labels"], dice)
    took: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * COMMITS):
        measured = number % 2 == 0
        rows = camera.rows(BATCH)

        def commit(cursor: LedgerCursor, rows: list[Prediction] = rows, measured: bool = measured) -> None:  # noqa: FBT001
            cursor.has_tallies = measured
            predictions.commit(cursor, rows)

        took[measured].append(_seconds(lambda work=commit: database.run(work)))  # type: ignore[misc]
    with_it, without = (statistics.median(took[measured]) for measured in (True, False))
    print(f"a commit of {BATCH}: {1000 * with_it:.2f} ms, without what it measured {1000 * without:.2f} ms", end="")
    print(f": ratio {with_it / without:.3f}")
    counting = _seconds(camera.count)
    print(f"counting: {1e6 * counting / (COMMITS * BATCH):.0f} us a picture")


def _measuring() -> None:
    """Print what measuring a photo costs beside decoding it: processor time, as others may use the machine too."""
    files = [data for _, data in photos(PHOTOS)]
    decoded = [decode_sized(data, SPEC, MAX_PIXELS) for data in files]
    measuring = cost(lambda found: measure(*found), decoded, PASSES)
    decoding = cost(lambda data: decode_sized(data, SPEC, MAX_PIXELS), files, DECODING_PASSES)
    print(f"measuring: {1e3 * measuring:.0f} us a picture; decoding it: {1e3 * decoding:.0f} us")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
