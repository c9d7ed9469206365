"""Waits between retries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluice.backoff import Backoff, jittered, wait_after


@given(st.floats(0, 1e6))
def test_jitter_takes_no_more_than_half_away(seconds: float) -> None:
    assert seconds / 2 <= jittered(seconds) <= seconds


@given(st.integers(0, 10_000))
def test_a_wait_doubles_up_to_the_longest(tries: int) -> None:
    whole = min(8.0, 2.0 ** min(max(tries - 1, 0), 3))
    assert whole / 2 <= wait_after(tries, 1.0, 8.0) <= whole


def test_a_backoff_begins_anew_once_it_worked() -> None:
    waits = Backoff(1.0, 8.0)
    for whole in (1, 2, 4, 8, 8):
        assert whole / 2 <= waits.next() <= whole
    waits.reset()
    assert waits.next(longest=0.5) <= 0.5
