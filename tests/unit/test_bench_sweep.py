"""What `scripts/bench sweep` tries, and what it says of it; it is run as a whole by hand."""

from __future__ import annotations

import argparse

import pytest

from tools.bench.sweep import TriedArrangement, neighbours, turns, verdict

DEFAULT = TriedArrangement(2, 1, 1, 32, 2)


def test_an_arrangement_is_read_as_it_is_written() -> None:
    assert TriedArrangement.parse(str(DEFAULT)) == DEFAULT
    for wrong in ("", "2x1", "0x1/1/32/2", "2x1/1/32/2/1", "2x1/1/32/-2"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not like 2x1/1/32/2"):
            TriedArrangement.parse(wrong)


def test_neighbours_differ_in_one_part() -> None:
    tried = [str(each) for each in neighbours(DEFAULT, 2)]
    assert tried == [
        *("2x1/1/32/2", "1x2/1/32/2", "2x2/1/32/2", "2x1/2/32/2"),
        *("2x1/1/16/2", "2x1/1/64/2", "2x1/1/32/3", "2x1/1/32/4"),
    ]
    assert len(neighbours(TriedArrangement(1, 1, 1, 32, 2), 1)) == 7


def test_every_round_begins_with_another_one() -> None:
    one, two = neighbours(DEFAULT, 2)[:2]
    assert list(turns([one, two], 3)) == [(0, one), (0, two), (1, two), (1, one), (2, one), (2, two)]


def test_only_what_is_faster_each_time_and_clearly_beats_the_default() -> None:
    own = [40.0, 50.0, 45.0]
    assert verdict("a", {"a": own, "b": [44.0, 55.0, 49.0]}).startswith("the default a is not the best here: b is 1.10")
    assert "within noise" in verdict("a", {"a": own, "b": [39.0, 55.0, 49.0]})
    assert "within noise" in verdict("a", {"a": own, "b": [40.5, 50.5, 45.5]})
    assert "too few runs" in verdict("a", {"a": own, "b": []})
    assert "too few runs" in verdict("a", {"a": [], "b": own})
