"""Shelves: whatever day it is, nothing is put on a shelf that may be cleared, and none is kept for much too long."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.shelves import is_over, shelf_of

DAYS = st.dates(date(2020, 1, 1), date(2100, 1, 1))


@given(DAYS, st.integers(1, 4000))
def test_a_picture_is_kept_for_so_many_days_and_little_longer(dropped: date, keep: int) -> None:
    shelf = shelf_of(dropped, keep)
    assert not is_over(shelf, dropped + timedelta(days=keep), keep)
    assert is_over(shelf, dropped + timedelta(days=keep + max(1, keep // 10)), keep)


@given(DAYS, st.integers(1, 4000), st.integers(0, 4000), st.integers(0, 4000))
def test_nothing_is_put_on_a_shelf_that_may_be_cleared(today: date, keep: int, later: int, another: int) -> None:
    """Not even a day late, nor by a gateway with another setting."""
    if is_over(shelf_of(today, another), today + timedelta(days=later), keep):
        assert later > keep
    assert not is_over(shelf_of(today - timedelta(days=1), another), today, keep)


@given(DAYS, st.integers(0, 4000))
def test_pictures_of_one_time_share_a_shelf(today: date, later: int) -> None:
    assert shelf_of(today, 0) >= today.isoformat()
    assert not is_over(shelf_of(today, 0), today + timedelta(days=later), 0)


@pytest.mark.parametrize("name", ["", "7", "pictures", "2026-02-30", "9999-12-31", "0001-01-01x"])
def test_what_is_no_shelf_is_left_alone(name: str) -> None:
    assert not is_over(name, date(2026, 1, 1), 1)
