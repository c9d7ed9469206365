"""Which pictures are learned from, and which only tell how well that went.

A picture's own bytes decide: the same bytes are always on the same side, whatever else is there, so that versions of a
model that learned from more and more pictures are tested on the same ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sluice.errors import TrainingError
from trainer.pictures.labelled import named
from trainer.pictures.looking import SeenPicture

TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"
TEST_SHARE: Final = 0.2
VALIDATION_SHARE: Final = 0.16
NEAR: Final = 3.0
"""Mean difference of two thumbnails' levels (of 255) up to which two pictures are called nearly the same."""
BLOCK: Final = 2000
COMPARED_MAX: Final = 20_000


def split(pictures: Sequence[SeenPicture], *, has_test: bool) -> list[str]:
    """Return each picture's side; without a test of their own, some of each class are kept for it."""
    test = 0.0 if has_test else TEST_SHARE
    sides = [_side(int(each.sha256[:8], 16) / 2**32, test) for each in pictures]
    by_class = defaultdict[str, list[int]](list)
    for number in sorted(range(len(pictures)), key=lambda number: pictures[number].sha256):
        by_class[pictures[number].picture.label].append(number)
    for numbers in by_class.values():
        wanted = {TRAIN: 2, VALIDATION: 1, **({} if has_test else {TEST: 1})}
        for side, least in wanted.items():
            # Small classes may have none on a side: the lowest of the side that has most goes over.
            while (counts := Counter(sides[number] for number in numbers))[side] < least:
                richest = max(counts, key=lambda each: (counts[each] - wanted.get(each, 0), each))
                moved = next(number for number in numbers if sides[number] == richest)
                sides[moved] = side
    return sides


def _side(place: float, test: float) -> str:
    return TEST if place < test else VALIDATION if place < test + VALIDATION_SHARE else TRAIN


def judge_test(pictures: Sequence[SeenPicture], test: Sequence[SeenPicture]) -> tuple[list[SeenPicture], list[str]]:
    """Return the pictures of a separate test that may be asked, and what is to be told of the others."""
    labels = {each.picture.label for each in pictures}
    unknown = sorted({each.picture.label for each in test} - labels)
    if unknown:
        raise TrainingError(f"the test has classes that nothing teaches: {named([repr(each) for each in unknown])}")
    known = {each.sha256 for each in pictures}
    kept = [each for each in test if each.sha256 not in known]
    if not kept:
        raise TrainingError("all pictures of the test are among those to learn from: name other pictures as the test")
    findings = []
    if len(kept) < len(test):
        leaked = [each.picture.url for each in test if each.sha256 in known]
        findings.append(f"a leak: left out of the test, since they are learned from too: {named(leaked)}")
    missing = sorted(labels - {each.picture.label for each in kept})
    if missing:
        findings.append(f"the test has no picture of {named([repr(each) for each in missing])}")
    return kept, findings


def near_duplicates(pictures: Sequence[SeenPicture], sides: Sequence[str]) -> list[str]:
    """Tell of pictures on both sides of the test that look nearly the same: the accuracy flatters them."""
    tested = [number for number, side in enumerate(sides) if side == TEST][:COMPARED_MAX]
    others = [number for number, side in enumerate(sides) if side != TEST]
    if not tested or not others:
        return []
    asked = _flat(pictures, tested)
    nearest = np.full(len(tested), np.inf)
    which = np.zeros(len(tested), dtype=np.int64)
    for start in range(0, len(others), BLOCK):
        some = others[start : start + BLOCK]
        against = _flat(pictures, some)
        # |a - b|^2 = |a|^2 + |b|^2 - 2ab, which is one product of matrices.
        squares = (asked**2).sum(1)[:, None] + (against**2).sum(1)[None, :] - 2 * asked @ against.T
        best = squares.argmin(1)
        found = squares[np.arange(len(tested)), best]
        closer = found < nearest
        nearest[closer], which[closer] = found[closer], np.array(some)[best[closer]]
    limit = NEAR**2 * asked.shape[1]
    pairs = [
        f"{pictures[tested[number]].picture.url} like {pictures[which[number]].picture.url}"
        for number in np.flatnonzero(nearest <= limit)
    ]
    if not pairs:
        return []
    told = (
        f"a leak: {len(pairs):,} of {len(tested):,} pictures of the test look nearly like one that is learned from, so "
        f"the accuracy may be too good: {named(pairs)}"
    )
    return [told]


def _flat(pictures: Sequence[SeenPicture], numbers: Sequence[int]) -> NDArray[np.float32]:
    return np.stack([pictures[number].thumb for number in numbers]).reshape(len(numbers), -1).astype(np.float32)
