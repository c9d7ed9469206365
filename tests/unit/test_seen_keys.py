"""What a glance at a watched prefix takes for new, and how often it may glance."""

from __future__ import annotations

import pytest

from producer.glances import REQUESTS_A_SECOND, SHARE_OF_TIME, rest_after
from producer.seen_keys import SeenKeys
from sluice.domain import ListedObject

PAGE = [ListedObject(key, "e", 1) for key in (b"a", b"b", b"c")]


def listed(seen: SeenKeys, page: list[ListedObject]) -> list[ListedObject]:
    """List one page to the end, and return what was new."""
    seen.begin()
    found = seen.unseen(page)
    seen.note(page)
    seen.end()
    return found


def test_only_what_the_listing_before_did_not_have_is_new() -> None:
    seen = SeenKeys()
    assert listed(seen, PAGE[:2]) == PAGE[:2]
    assert listed(seen, PAGE) == PAGE[2:]
    changed = ListedObject(b"a", "other", 1)
    assert listed(seen, [changed, *PAGE[2:]]) == [changed]
    assert listed(seen, [changed, *PAGE[1:]]) == [PAGE[1]], "it was away, and is there again"


def test_a_listing_that_was_broken_off_forgets_nothing() -> None:
    seen = SeenKeys()
    listed(seen, PAGE)
    seen.begin()
    seen.note(PAGE[:1])
    assert listed(seen, PAGE) == []


def test_a_large_prefix_is_not_remembered_whole() -> None:
    seen = SeenKeys(most=2)
    assert listed(seen, PAGE) == PAGE
    assert seen.is_too_many
    seen.begin()
    seen.note(PAGE[:2])
    assert not seen.is_too_many, "it has become smaller"


@pytest.mark.parametrize(("requests", "seconds", "jobs"), [(1, 0.01, 1), (1, 0.01, 9), (20, 0.5, 2), (1, 3.0, 1)])
def test_glances_stay_below_their_share_of_requests_and_of_time(requests: int, seconds: float, jobs: int) -> None:
    period = seconds + rest_after(requests, seconds, jobs)
    assert jobs * requests / period <= REQUESTS_A_SECOND * 1.001
    assert seconds / period <= SHARE_OF_TIME * 1.001
