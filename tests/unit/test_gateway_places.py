"""Places: so many at once, so many for one person; whoever leaves makes room."""

from __future__ import annotations

import pytest

from gateway.places import Places
from sluice.errors import Busy


def test_places_are_bounded_in_all_and_for_one_person() -> None:
    places = Places(3, "files are being made", 7, 2)
    with places.hold(1), places.hold(1):
        with pytest.raises(Busy, match="at most 2 of yours") as busy, places.hold(1):
            pass
        assert (busy.value.seconds, busy.value.status) == (7, 503)
        with places.hold(2), pytest.raises(Busy, match="files are being made: at most 3 at once"):
            places.check(3)
        places.check(3)
    places.check(1)


def test_a_place_is_free_again_whatever_happens_in_it() -> None:
    places = Places(1, "pictures are being drawn", 2)
    with pytest.raises(ZeroDivisionError), places.hold():
        raise ZeroDivisionError
    with places.hold(), pytest.raises(Busy):
        places.check()
    places.check()
