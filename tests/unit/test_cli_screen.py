"""Output for people can't control their terminal, and claims no more than is true."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from sluice.cli import status
from sluice.cli.screen import console, duration, percent, safe, sentence
from sluice.exports import disarmed, json_safe
from sluice.ledger import JobProgress

ANY_TEXT = st.text(st.characters())


def progress(**changes: object) -> JobProgress:
    given = {
        "job": 1,
        "source": "s3://b/",
        "state": "running",
        "listed": 10,
        "pending": 5,
        "done": 5,
        "quarantined": 0,
        "superseded": 0,
        "listing_complete": True,
        "images_per_second": 0.0,
        "eta_seconds": None,
        "message": "",
    }
    return JobProgress(**{**given, **changes})  # type: ignore[arg-type]


@given(ANY_TEXT)
def test_safe_text_is_one_line_without_controls(text: str) -> None:
    shown = safe(text)
    assert len(shown.splitlines()) <= 1
    assert all(char.isprintable() or char.isspace() or ord(char) > 0x9F for char in shown)
    assert not set(shown) & set("\x1b\n\r\t\x7f\x9b\u202e\u2066\u200f\u2028")


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert safe(text) == text


@given(ANY_TEXT)
def test_json_stays_the_same_json(text: str) -> None:
    made = json_safe(json.dumps({"url": text}, ensure_ascii=False))
    assert json.loads(made) == {"url": text}
    assert "\x1b" not in made
    assert "\x9b" not in made
    assert "\u202e" not in made


def test_markup_is_text() -> None:
    stream = io.StringIO()
    console(stream).print("[red]x[/red] :smile:", Text("[link=http://e]y[/link]"))
    assert stream.getvalue() == "[red]x[/red] :smile: [link=http://e]y[/link]\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (-1, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"listed": 0, "pending": 0, "done": 0, "listing_complete": False}, "0 %"),
        ({"listed": 0, "pending": 0, "done": 0}, "100 %"),
        ({"listed": 100_000, "pending": 1, "done": 99_999}, "99 %"),
        ({"listed": 10, "pending": 0, "done": 10, "listing_complete": False}, "99 %"),
        ({"listed": 12, "pending": 0, "done": 8, "quarantined": 2, "superseded": 2}, "100 %"),
    ],
)
def test_a_hundred_percent_means_that_nothing_is_left(changes: dict[str, object], said: str) -> None:
    assert percent(progress(**changes)) == said


def test_the_sentence_of_a_job_is_one_safe_line() -> None:
    said = sentence(
        progress(quarantined=1, pending=4, images_per_second=12.34, eta_seconds=61.0, message="bucket\n\x1b[2J gone")
    )
    assert said == (
        "job 1 running: 6 of 10 (60 %), 1 quarantined, 12.3 images/s, 1 min 01 s left, bucket\\n\\x1b[2J gone"
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_is_text_in_a_spreadsheet(text: str) -> None:
    assert disarmed(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["", "cat", "'=1", "a=1", -1, -1.5, None])
def test_what_is_no_formula_stays_as_it_is(cell: object) -> None:
    assert disarmed(cell) is cell


@pytest.mark.parametrize("width", [30, 44, 45, 120])
def test_no_terminal_is_too_narrow_for_a_jobs_number(width: int) -> None:
    """Figures are shown whole: in a table if it fits, otherwise in sentences."""
    shown = io.StringIO()
    status._show_all([progress(job=1234567), progress(job=2)], Console(file=shown, width=width, force_terminal=True))
    assert "1234567" in shown.getvalue()
    assert "50 % of 10" in shown.getvalue() or "5 of 10 (50 %)" in shown.getvalue()
