"""Encoding and decoding of frames, and arbitrary bytes from strangers."""

from __future__ import annotations

import contextlib
import random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.errors import ProtocolError
from sluice.protocol import (
    VERSION,
    Bye,
    Credit,
    Done,
    Error,
    Failed,
    Failure,
    Hello,
    Message,
    Ping,
    Pong,
    Return,
    Work,
    WorkItem,
    decode,
    encode,
)
from sluice.protocol.frames import HEADER_MAX_BYTES
from tests.support.producer_fakes import mutated, samples

ids = st.integers(1, 2**63 - 1)
counts = st.integers(0, 2**63 - 1)
texts = st.text(max_size=40)
items = st.builds(
    WorkItem,
    id=ids,
    job=ids,
    model=ids,
    source=texts,
    key=st.binary(max_size=1024),
    etag=texts,
    size=counts,
    inline=st.just(value=False),
    alone=st.booleans(),
)
messages = st.one_of(
    st.builds(Hello, consumer=st.text(min_size=1, max_size=64), line=st.binary(max_size=32), session=counts),
    st.builds(Credit, limit=counts, received=counts, why=texts),
    st.builds(Work, items=st.lists(items, max_size=5)),
    st.builds(Done, ids=st.lists(ids)),
    st.builds(Failed, failures=st.lists(st.builds(Failure, id=ids, reason=st.text(max_size=32), detail=texts))),
    st.builds(Return, ids=st.lists(ids)),
    st.builds(Ping, sent=st.none() | counts),
    st.builds(Pong, sent=st.none() | counts),
    st.just(Bye()),
    st.builds(Error, code=st.text(max_size=32), detail=texts),
)


@given(messages)
def test_every_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == (message, [])


def test_payloads_come_back_in_order() -> None:
    work = Work([WorkItem(n, 1, 1, "s3://b", b"\xff\n", "e", 3, inline=n != 2, alone=False) for n in (1, 2, 3)])
    message, payloads = decode(encode(work, [b"one", b"three"]))
    assert message == work
    assert list(payloads) == [b"one", b"three"]


def test_fields_may_be_added_within_a_version() -> None:
    """A reader ignores unknown fields; an empty field isn't sent, since the reader may not know it."""
    newer = msgspec.msgpack.encode({"limit": 5, "received": 2, "colour": "red"})
    assert decode([bytes((VERSION, 2)), newer])[0] == Credit(5, 2)
    assert msgspec.msgpack.decode(encode(Credit(5, 2))[1]) == {"limit": 5, "received": 2}
    for older in (Hello("c"), Ping(), Pong()):
        assert msgspec.msgpack.decode(encode(older)[1]) == ({"consumer": "c"} if isinstance(older, Hello) else {})


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "found 0 frames"),
        ([bytes((VERSION, 7))], "found 1 frames"),
        ([b"", b"\x80"], "version-and-kind"),
        ([bytes((VERSION + 1, 7)), b"\x80"], "upgrade the older side"),
        ([bytes((VERSION, 99)), b"\x80"], "kind 99 is unknown"),
        ([bytes((VERSION, 7)), b"\x80", b"extra"], "1 payload frames, expected 0"),
        ([bytes((VERSION, 4)), b"\x81\xa3ids\x91\x00"], "Done"),
        ([bytes((VERSION, 4)), b"\x81\xa3ids\x91\x01\x00"], "Done"),
        ([bytes((VERSION, 1)), b"\x81\xa8consumer\xa0"], "Hello"),
        ([bytes((VERSION, 2)), msgspec.msgpack.encode({"limit": 0, "received": 0, "why": "x" * 301})], "Credit"),
        ([bytes((VERSION, 7)), b"x" * (HEADER_MAX_BYTES + 1)], "more than"),
        ([bytes((VERSION, 4)), b"\x91" * 100_000], "Done"),
    ],
)
def test_what_is_wrong_is_said(frames: list[bytes], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        decode(frames)


@given(st.lists(st.binary(max_size=64), max_size=4))
@example([b"\x01\x05", b"\x81\xa8failures\x91\x83\xa2id\x01\xa6reason\xa1x\xa6detail\xd9\xffx"])
def test_any_bytes_decode_or_raise_protocol_error(frames: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        decode(frames)


def test_ten_thousand_damaged_messages() -> None:
    chance = random.Random(5)
    refused = 0
    for _ in range(10_000):
        frames = mutated(chance, chance.choice(samples()))
        try:
            decode(frames)
        except ProtocolError:
            refused += 1
    assert refused > 5_000
