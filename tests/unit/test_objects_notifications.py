from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.domain import ListedObject
from sluice.objects.entries import make_entry
from sluice.objects.notifications import ObjectWritten, read_events


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
    expected = [ObjectWritten("b", (key := "a b+c/ü.jpg".encode()), ListedObject(key, "abc", 3))]
    assert read_events(direct) == read_events(topic) == read_events(bridge) == expected


def test_removals_and_placeholders_are_no_events() -> None:
    records = [record("a", "ObjectRemoved:Delete"), record("folder/", size=0)]
    assert read_events(json.dumps({"Records": records})) == []


@pytest.mark.parametrize(
    "held", [{"eTag": ""}, {"eTag": None}, {"eTag": 5}, {"size": -5}, {"size": None}, {"size": 1e999}, {"size": "3"}]
)
def test_an_event_that_lacks_what_a_listing_says_has_its_object_asked(held: dict[str, Any]) -> None:
    """Other events in the message are still read."""
    odd = record("b")
    odd["s3"]["object"].update(held)
    first, second = read_events(json.dumps({"Records": [{"eventName": "ObjectCreated:Put"}, odd, record("c")]}))
    assert (first.key, first.incomplete) == (b"b", True)
    assert second == ObjectWritten("b", b"c", ListedObject(b"c", "abc", 3))


@pytest.mark.parametrize("key", ["k" * 2000, "%FF.jpg"])
def test_a_key_that_can_not_be_asked_for_is_refused_as_it_is(key: str) -> None:
    (event,) = read_events(json.dumps({"Records": [record(key)]}))
    assert event.listed.refused
    assert not event.incomplete


@pytest.mark.parametrize("body", ["", "no json", "[]", "5", '{"Event": "s3:TestEvent"}', '{"Records": [{}]}'])
def test_other_messages_give_nothing(body: str) -> None:
    assert read_events(body) == []


@given(
    st.recursive(
        st.none() | st.text() | st.integers() | st.floats(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_message_is_fatal(found: object) -> None:
    read_events(json.dumps({"Records": found}))
    read_events(json.dumps({"detail-type": "Object Created", "detail": found}))
    read_events(json.dumps(found))


KEYS = st.text(st.characters()) | st.text("a/%F+", min_size=1000, max_size=1100)
FIELDS = st.none() | st.text() | st.integers() | st.floats() | st.text('ab"', min_size=100, max_size=150)


@given(st.lists(st.tuples(KEYS, FIELDS, FIELDS), max_size=5))
@example([("\ud800", None, None)])
def test_what_strangers_say_fits_the_ledgers_columns_and_none_is_lost(said: list[tuple[str, Any, Any]]) -> None:
    records = [record(key, etag=etag, size=size) for key, etag, size in said]
    events = read_events(json.dumps({"Records": records}))
    left_out = [key for key, _, size in said if not key or (key.endswith("/") and size == 0)]
    assert len(events) + len(left_out) == len(said)
    for event in events:
        fits(event.listed)


@given(st.binary(max_size=1100), FIELDS, FIELDS)
def test_each_entry_of_a_listing_fits_the_ledgers_columns(key: bytes, etag: object, size: object) -> None:
    fits(make_entry(key, etag, size))
    fits(make_entry(key, etag, size, is_text=False))


def test_stand_ins_for_different_keys_and_etags_are_different() -> None:
    entries = [make_entry(b"k" * 2000 + end, f"ü{number}", 1) for number, end in enumerate([b"a", b"b"])]
    assert len({entry.key for entry in entries}) == len({entry.etag for entry in entries}) == 2


def fits(entry: ListedObject) -> None:
    """Check that an entry fits the columns of the table `objects`; if it isn't refused, it can be requested."""
    assert len(entry.key) <= 1024
    assert len(entry.etag) <= 128
    assert entry.etag.isascii()
    assert 0 <= entry.size < 2**63
    assert entry.refused or (entry.key and entry.etag and entry.etag.isprintable() and '"' not in entry.etag)
