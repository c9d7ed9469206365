"""Which message a job shows, of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from producer.messages import JobMessages
from producer.sources import JobSources
from sluice.settings import read_settings


def test_only_news_is_told_and_the_first_topic_is_heard() -> None:
    messages = JobMessages()
    messages.say(1, "consumers", "none is connected")
    messages.say(2, "consumers", "")
    assert messages.take({1, 2}) == {1: "none is connected"}
    assert messages.take({1, 2}) == {}
    messages.say(1, "source", "bucket gone")
    assert messages.take({1, 2}) == {1: "bucket gone"}
    messages.say(1, "consumers", "2 are connected")
    assert messages.take({1, 2}) == {}
    messages.say(1, "source", "")
    assert messages.take({1, 2}) == {1: "2 are connected"}
    messages.say(1, "consumers", "")
    assert messages.take({1, 2}) == {1: ""}


def test_what_an_earlier_producer_left_goes_unless_it_is_said_again() -> None:
    messages = JobMessages()
    for job in (1, 2, 3):
        messages.adopt(job, "old" if job < 3 else "")
    messages.say(1, "model", "old")
    assert messages.take({1, 2, 3}) == {2: ""}
    messages.adopt(2, "read before it was written")
    assert messages.take({1, 2, 3}) == {}


def test_a_job_that_is_no_longer_under_way_waits_for_nothing() -> None:
    messages = JobMessages()
    messages.say(1, "consumers", "none is connected")
    messages.take({1})
    messages.say(2, "source", "never told")
    assert messages.take(set()) == {1: ""}
    messages.adopt(1, "")
    messages.say(1, "consumers", "none is connected")
    assert messages.take({1}) == {1: "none is connected"}, "it was resumed, and waits again"


def test_links_that_a_folder_leaves_out_are_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "away").symlink_to("/etc/hostname")
    source = f"file://{tmp_path}"
    assert list(JobSources(read_settings(), JobMessages()).get(source).list(b"")) == [[]]
    said = "".join(capsys.readouterr())
    assert "links are left out" in said
    assert source in said
