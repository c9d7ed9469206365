"""What the unknown storm's judge reports as broken, and what it doesn't."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tools.storm.unknown.arrivals import Submitted
from tools.storm.unknown.contents import Content
from tools.storm.unknown.journal import Journal
from tools.storm.unknown.judgement import Judge

KEY = b"pool/a.jpg"
BYTES = b"first"
SHA256 = hashlib.sha256(BYTES).digest()


def written(journal: Journal, etag: str, data: bytes = BYTES, reasons: tuple[str, ...] = (), at: float = 1.0) -> None:
    writing = journal.begin(KEY, Content(data, reasons), etag)
    writing.begun, writing.ended = at, at + 0.1


def deleted(journal: Journal, at: float) -> None:
    writing = journal.begin_deleting(KEY)
    writing.begun, writing.ended = at, at + 0.1


def row(**columns: object) -> dict[str, Any]:
    usual = {
        "id": 1,
        "job_id": 1,
        "repeat_no": 0,
        "object_key": KEY,
        "generation": 0,
        "etag": "one",
        "state": "done",
        "reason": None,
        "detail": None,
        "deaths": 0,
        "sha256": SHA256 if columns.get("state", "done") == "done" else None,
        "p_job": 1,
    }
    return {**usual, **columns}


def kinds(journal: Journal, *rows: dict[str, Any], watch: bool = False, counted: bool = True) -> list[str]:
    states = [each["state"] for each in rows]
    counters = {name: states.count(name) for name in ("done", "quarantined", "superseded")}
    tables = {
        "rows": rows,
        "orphans": [],
        "counters": [{"job_id": 1, "listed": len(rows) if counted else 7, **counters}],
        "jobs": [{"id": 1, "state": "running" if watch else "done", "message": ""}],
    }
    job = Submitted(1, b"pool/", watch, since=10.0, until=20.0)
    return sorted({finding.kind for finding in Judge(journal, [job], tables).findings()})


@pytest.fixture
def journal() -> Journal:
    journal = Journal()
    written(journal, "one")
    return journal


def test_a_done_object_is_fine(journal: Journal) -> None:
    assert kinds(journal, row()) == []


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([], "lost"),
        ([row(state="pending")], "lost"),
        ([row(state="superseded"), row(id=2, generation=1)], "lost"),
        ([row(), row(id=2, generation=1)], "doubled"),
        ([row(sha256=hashlib.sha256(b"others").digest())], "wrong bytes"),
        ([row(sha256=None)], "half"),
        ([row(state="quarantined", reason="corrupt")], "innocent"),
        ([row(state="quarantined", reason="not_found")], "innocent"),
        ([row(etag="unheard of")], "stranger"),
    ],
)
def test_what_must_not_be_is_found(journal: Journal, rows: list[dict[str, Any]], kind: str) -> None:
    assert kind in kinds(journal, *rows)


def test_wrong_counters_are_found(journal: Journal) -> None:
    assert kinds(journal, row(), counted=False) == ["counter"]


def test_a_row_of_a_version_that_was_gone_before_the_job_is_stale(journal: Journal) -> None:
    written(journal, "two", b"second", at=5.0)
    assert kinds(journal, row()) == ["stale"]


def test_either_version_of_a_key_that_changed_meanwhile_will_do(journal: Journal) -> None:
    written(journal, "two", b"second", at=15.0)
    assert kinds(journal, row()) == []
    assert kinds(journal, row(etag="two", sha256=hashlib.sha256(b"second").digest())) == []


def test_a_watch_job_must_have_the_last_version(journal: Journal) -> None:
    written(journal, "two", b"second", at=15.0)
    assert kinds(journal, row(), watch=True) == ["stale"]


def test_a_deleted_key_may_have_a_row_or_none_or_be_not_found(journal: Journal) -> None:
    deleted(journal, at=15.0)
    assert kinds(journal) == []
    assert kinds(journal, row()) == []
    assert kinds(journal, row(state="quarantined", reason="not_found")) == []


def test_what_is_no_picture_may_be_quarantined_and_must_not_be_done(journal: Journal) -> None:
    written(journal, "bad", b"text", ("not_an_image",), at=5.0)
    assert kinds(journal, row(etag="bad", state="quarantined", reason="not_an_image")) == []
    assert kinds(journal, row(etag="bad", sha256=hashlib.sha256(b"text").digest())) == ["wrong bytes"]


def test_changing_needs_three_changes(journal: Journal) -> None:
    for number in range(3):
        written(journal, f"v{number}", b"%d" % number, at=12.0 + number)
    assert kinds(journal, row(etag="v2", state="quarantined", reason="changing")) == []
