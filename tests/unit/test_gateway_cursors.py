"""What comes back as a cursor: what was given, or an answer that says what a cursor is."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cursors import NUMBER_MAX, decode, encode
from sluice.errors import RequestError


@given(
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=128),
    st.floats(0, 1),
    st.integers(0, NUMBER_MAX),
)
def test_a_cursor_comes_back_as_it_was_given(label: str, score: float, number: int) -> None:
    assert decode("results", encode("results", [label, score, number]), (str, float, int)) == (label, score, number)


def test_no_cursor_is_the_first_page() -> None:
    assert decode("jobs", "", (int,)) is None


def forged(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "!!!!",
        "é",
        "[1]",
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        base64.urlsafe_b64encode(b"[" * 700).decode(),
        forged({"jobs": 1}),
        forged(["results", 1]),
        forged(["jobs"]),
        forged(["jobs", 1, 2]),
        forged(["jobs", "1"]),
        forged(["jobs", -1]),
        forged(["jobs", True]),
        forged(["jobs", NUMBER_MAX + 1]),
        forged(["jobs", 1.5]),
        forged(["jobs", None]),
    ],
)
def test_what_is_no_cursor_is_said_to_be_none(text: str) -> None:
    with pytest.raises(RequestError, match="take `next`") as caught:
        decode("jobs", text, (int,))
    assert caught.value.status == 400


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", '"0.5"', "null"])
def test_a_score_of_a_cursor_is_a_number(value: str) -> None:
    text = base64.urlsafe_b64encode(f'["results",{value}]'.encode()).decode()
    with pytest.raises(RequestError):
        decode("results", text, (float,))
