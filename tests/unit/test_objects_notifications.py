from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.ledger import Listed
from sluice.objects.notifications import Event, read_events


def record(key: str, event: str = "ObjectCreated:Put", etag: str = "abc", size: int = 3) -> dict[str, Any]:
    held = {"key": key, "size": size, "eTag": etag}
    return {"eventName": event, "s3": {"bucket": {"name": "b"}, "object": held}}


def test_the_three_forms_of_an_event_say_the_same() -> None:
    direct = json.dumps({"Records": [record("a+b%2Bc/%C3%BC.jpg")]})
    topic = json.dumps({"Type": "Notification", "Message": direct})
    bridge = json.dumps(
        {
            "detail-type": "Object Created",
            "detail": {"bucket": {"name": "b"}, "object": {"key": "a b+c/ü.jpg", "size": 3, "etag": "abc"}},
        }
    )
    expected = [Event("b", Listed("a b+c/ü.jpg".encode(), "abc", 3))]
    assert read_events(direct) == read_events(topic) == read_events(bridge) == expected


def test_removals_placeholders_and_events_without_an_etag_are_left_to_the_listing() -> None:
    records = [record("a", "ObjectRemoved:Delete"), record("folder/", size=0), record("b", etag="")]
    assert read_events(json.dumps({"Records": records})) == []


@pytest.mark.parametrize("body", ["", "no json", "[]", "5", '{"Event": "s3:TestEvent"}', '{"Records": [{}]}'])
def test_other_messages_give_nothing(body: str) -> None:
    assert read_events(body) == []


@given(st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_no_message_is_fatal(found: object) -> None:
    read_events(json.dumps({"Records": found}))
    read_events(json.dumps({"detail-type": "Object Created", "detail": found}))
    read_events(json.dumps(found))
