"""What is measured of pictures, and when a window differs from its reference: seldom by chance, soon by a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from sluice.drift import (
    PICTURE,
    STATISTICS,
    MeasuredPrediction,
    PictureMeasures,
    Statistic,
    WindowCounts,
    bucket_name,
    bucket_of,
    compare,
    moved,
)
from sluice.drift.buckets import EDGES
from sluice.drift.measuring import measure
from sluice.images import Preprocessing, decode_sized
from tests.support.corpus import photo, saved

SIZE: Final = 1000
WINDOWS: Final = 50
MIXES: Final = {
    "two labels": [0.5, 0.5],
    "a rare label": [0.99, 0.01],
    "ten labels": [0.1] * 10,
    "a thousand labels, few of them frequent": [1 / (n + 1) for n in range(1000)],
    "a thousand labels, none frequent": [1.0] * 1000,
}


def window(random: np.random.Generator, shares: np.ndarray, brightness: float = 1.0, size: int = SIZE) -> WindowCounts:
    """Return a window of pictures with these labels, their brightness spread as photos' is."""
    labels = {str(label): int(number) for label, number in enumerate(random.multinomial(size, shares)) if number}
    levels = np.clip(random.normal(115, 40, size), 2, 250) * brightness
    values = {
        Statistic.SCORE: random.beta(6, 1.5, size),
        Statistic.BRIGHTNESS: levels,
        Statistic.CONTRAST: levels / 2,
        Statistic.SHARPNESS: random.gamma(3, 3, size),
        Statistic.SIZE: random.lognormal(6, 0.5, size),
    }
    counts = WindowCounts({Statistic.LABEL: Counter(labels)})
    for statistic, each in values.items():
        numbers = np.digitize(each, EDGES[statistic])
        counts.buckets[statistic] = Counter({str(bucket): int(n) for bucket, n in enumerate(np.bincount(numbers)) if n})
        counts.sums[statistic] = float(each.sum())
    counts.rates = {
        Statistic.UNDECODABLE: (int(random.binomial(size, 0.01)), size),
        Statistic.INCORRECT: (int(random.binomial(size, 0.02)), size),
    }
    return counts


def shares(mix: str) -> np.ndarray:
    found = np.array(MIXES[mix], float)
    return np.asarray(found / found.sum())


def shifted(before: np.ndarray, points: float = 0.2) -> np.ndarray:
    """Return shares of which so much went from the most frequent labels to the last one."""
    after = before.copy()
    left = min(points, 1 - after[-1])
    for label in np.argsort(-after[:-1], kind="stable"):
        taken = min(left, after[label])
        after[label] -= taken
        after[-1] += taken
        left -= taken
    return np.asarray(after / after.sum())


def alarms(reference: WindowCounts, counts: WindowCounts) -> set[Statistic]:
    return {each.statistic for each in compare(reference, counts) if each.alarm}


@pytest.mark.parametrize("mix", MIXES)
def test_stable_windows_give_no_alarm_and_changed_ones_do(mix: str) -> None:
    random = np.random.default_rng(20)
    before = shares(mix)
    reference = window(random, before)
    false = [found for _ in range(WINDOWS) if (found := alarms(reference, window(random, before)))]
    assert len(false) <= 1, false
    for _ in range(3):
        assert Statistic.LABEL in alarms(reference, window(random, shifted(before)))
        assert Statistic.BRIGHTNESS in alarms(reference, window(random, before, brightness=0.5))


def test_rates_that_rise_are_told_and_those_that_fall_are_not() -> None:
    base = WindowCounts(rates={Statistic.UNDECODABLE: (10, SIZE), Statistic.INCORRECT: (50, SIZE)})
    more = WindowCounts(rates={Statistic.UNDECODABLE: (60, SIZE), Statistic.INCORRECT: (0, SIZE)})
    assert alarms(base, more) == {Statistic.UNDECODABLE}
    assert alarms(more, base) == {Statistic.INCORRECT}
    assert compare(base, WindowCounts(rates={Statistic.UNDECODABLE: (10, 20)})) == [], "too few to say anything"


def test_what_one_side_lacks_is_not_judged() -> None:
    """Answers that were known have no picture, and a new version's reference no labels."""
    random = np.random.default_rng(1)
    whole = window(random, shares("two labels"))
    told = {each.statistic for each in compare(whole.only(PICTURE), whole)}
    assert told == set(PICTURE)
    assert compare(WindowCounts(), whole) == []


def test_few_pictures_that_vanish_are_no_alarm() -> None:
    """Improbable by chance, and a PSI as of a larger shift; but hardly any picture is elsewhere."""
    before = WindowCounts({Statistic.LABEL: Counter(cat=970, dog=30)})
    (finding,) = compare(before, WindowCounts({Statistic.LABEL: Counter(cat=1000)}))
    assert finding.psi > 0.05
    assert finding.beyond > 4
    assert not finding.alarm


counted = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 400), min_size=1)


@given(counted, counted)
def test_any_two_windows_can_be_compared(first: dict[str, int], second: dict[str, int]) -> None:
    before, now = (WindowCounts({Statistic.LABEL: Counter(found)}) for found in (first, second))
    for finding in compare(before, now):
        assert finding.psi >= 0
        assert np.isfinite([finding.psi, finding.beyond]).all()
        if first == second:
            assert not finding.alarm
        for bucket in moved(before, now, finding.statistic):
            assert second[bucket] > 0


@given(st.sampled_from(sorted(EDGES)), st.floats(0, 1e6))
def test_each_value_is_in_the_bucket_that_is_named_for_it(statistic: Statistic, value: float) -> None:
    words = bucket_name(statistic, str(bucket_of(statistic, value))).split()
    if words[0] == "below":
        assert value < float(words[1])
    elif words[1:] == ["and", "more"]:
        assert value >= float(words[0])
    else:
        assert float(words[0]) <= value < float(words[2])


@given(st.text(max_size=8), st.floats(0, 1), st.booleans())
def test_what_is_packed_comes_out_again(label: str, score: float, is_measured: bool) -> None:  # noqa: FBT001 - hypothesis
    measures = PictureMeasures(12.5, 3.25, 1.125, 640, 480) if is_measured else None
    prediction = MeasuredPrediction(7, label, round(score, 6), measures)
    assert MeasuredPrediction.unpack(prediction.pack()) == prediction
    counts = WindowCounts(rates={Statistic.UNDECODABLE: (1, 2)})
    counts.add(prediction.label, prediction.counted())
    again = WindowCounts.unpack(counts.pack())
    assert (again.buckets, again.rates) == (counts.buckets, counts.rates)
    assert {each: again.mean(each) for each in STATISTICS} == pytest.approx(
        {each: counts.mean(each) for each in STATISTICS}, abs=0.001
    )


@pytest.mark.parametrize(
    ("change", "statistic", "factor"),
    [
        (lambda image: ImageEnhance.Brightness(image).enhance(0.5), "brightness", 0.5),
        (lambda image: ImageEnhance.Brightness(image).enhance(0.5), "contrast", 0.5),
        (lambda image: image.resize((image.width // 2, image.height // 2)), "size", 0.5),
    ],
)
def test_a_changed_picture_measures_so(
    change: Callable[[Image.Image], Image.Image], statistic: str, factor: float
) -> None:
    image = photo((400, 300))
    before, after = measured(image), measured(change(image))
    assert getattr(after, statistic) == pytest.approx(factor * getattr(before, statistic), rel=0.05)


def test_a_blurred_picture_is_less_sharp() -> None:
    image = photo((400, 300))
    assert measured(image.filter(ImageFilter.GaussianBlur(4))).sharpness < 0.7 * measured(image).sharpness


def measured(image: Image.Image) -> PictureMeasures:
    data = saved(image, "PNG")
    spec = Preprocessing(256, 224, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return measure(*decode_sized(data, spec, 10**7))
