"""The commands' parts that need no server: following, model cards, hidden passwords, metrics of processes."""

from __future__ import annotations

import io
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest

from sluice.cli import follow
from sluice.cli.check_processes import check_processes
from sluice.cli.check_result import CheckResult
from sluice.cli.config import shown_value, without_password
from sluice.cli.screen import console
from sluice.errors import ConfigurationError, LedgerUnavailable
from sluice.ledger import Database, JobProgress
from sluice.settings import read_settings
from sluice.store.card import archived_card
from tests.support.model_archives import CARD, TAMPERED, signed, write_archive


def at(done: int, state: str = "running", message: str = "") -> list[JobProgress]:
    return [JobProgress(1, "s3://b/", state, 10, 10 - done, done, 0, 0, True, 0.0, None, message)]  # noqa: FBT003 - a row


class Answers:
    """Stands for the database: returns one answer after another."""

    def __init__(self, *given: list[JobProgress] | Exception) -> None:
        self.given = list(given)

    def run(self, _: object) -> list[JobProgress]:
        answer = self.given.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def followed(
    *given: list[JobProgress] | Exception, sleep: float = follow.POLL_SECONDS
) -> tuple[list[JobProgress], list[str]]:
    """Follow the database's answers, with a clock that the pauses between two polls advance."""
    stream, moments = io.StringIO(), [0.0]
    polls = follow.polls_of(
        cast("Database", Answers(*given)),
        lambda _: [],
        inf,
        clock=lambda: sum(moments),
        sleep=lambda _: moments.append(sleep),
    )
    return follow.lines(polls, console(stream)), stream.getvalue().splitlines()


def test_following_survives_a_database_that_is_away() -> None:
    away = LedgerUnavailable("away")
    last, lines = followed(at(3), away, away, at(4), at(10, "done"))
    assert last == at(10, "done")
    assert lines == [
        "job 1 running: 3 of 10 (30 %)",
        "no answer from the database for 0 s; trying again",
        "job 1 done: 10 of 10 (100 %)",
    ]


def test_following_gives_up_on_a_database_that_stays_away() -> None:
    away = LedgerUnavailable("away")
    _, lines = followed(at(3), away, away, at(10, "done"), sleep=follow.OUTAGE_SECONDS)
    assert lines[-1] == "job 1 done: 10 of 10 (100 %)"
    with pytest.raises(LedgerUnavailable):
        followed(at(3), away, away, away, at(10, "done"), sleep=follow.OUTAGE_SECONDS * 0.6)


def test_a_line_is_written_for_news_not_for_every_look() -> None:
    _, lines = followed(at(1), at(2), at(3, message="bucket gone"), at(4, message="bucket gone"), at(4, "failed"))
    assert [line.partition(":")[2] for line in lines] == [
        " 1 of 10 (10 %)",
        " 3 of 10 (30 %), bucket gone",
        " 4 of 10 (40 %)",
    ]


def test_an_archive_says_its_model(tmp_path: Path) -> None:
    assert archived_card(write_archive(tmp_path / "m.mar", CARD | {"more": 1}))["labels"] == ["cat", "dog"]


@pytest.mark.parametrize(
    "card",
    [
        "{",
        "[]",
        "\udcff".encode("utf-8", "surrogatepass").decode("latin-1"),
        {**CARD, "digest": "short"},
        {**CARD, "labels": []},
        {**CARD, "labels": [1]},
        {**CARD, "name": None},
        {**CARD, "preprocessing": {"resize": 1}},
        {**CARD, "preprocessing": CARD["preprocessing"] | {"crop": "wide"}},
        {**CARD, "preprocessing": CARD["preprocessing"] | {"mean": None}},
        {**CARD, "weights": "weights.pth"},
        {**CARD, "weights": {"file": "weights.pth"}},
        signed({**CARD, "weights": {**CARD["weights"], "file": "absent.pth"}}),
        signed({**CARD, "preprocessing": CARD["preprocessing"] | {"version": 3}}),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(tmp_path: Path, card: object) -> None:
    with pytest.raises(ConfigurationError, match=r"m\.mar"):
        archived_card(write_archive(tmp_path / "m.mar", card))


@pytest.mark.parametrize("changed", TAMPERED)
def test_a_card_that_was_changed_is_refused_under_its_old_digest(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"m\.mar: model\.json's digest is .* build the archive again"):
        archived_card(write_archive(tmp_path / "m.mar", {**CARD, **changed}))


def test_weights_that_are_not_the_cards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"m\.mar: weights\.pth has sha256 .* build the archive again"):
        archived_card(write_archive(tmp_path / "m.mar", weights=b"others"))


def test_an_archive_from_before_there_were_versions_keeps_its_digest(tmp_path: Path) -> None:
    """Jobs that began with it continue, and a rebuilt one is the same model."""
    sizes = {name: value for name, value in CARD["preprocessing"].items() if name != "version"}
    assert (
        archived_card(write_archive(tmp_path / "m.mar", {**CARD, "preprocessing": sizes}))["digest"] == CARD["digest"]
    )


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.mar", tmp_path, Path(__file__)):
        with pytest.raises(ConfigurationError, match=r"name a \.mar file|scripts/build-model"):
            archived_card(path)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql://u:pw@h:1/d", "mysql://u:***@h:1/d"),
        ("mysql://u:p/w@x:y@h/d", "mysql://u:***@h/d"),
        ("mysql://u@h/d", "mysql://u@h/d"),
        ("http://h:8080", "http://h:8080"),
        ("obstore", "obstore"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_no_setting_shows_a_secret() -> None:
    settings = read_settings(
        database_url="mysql://u:hunter2@h/d",
        database_password="hunter2",
        torchserve_token="hunter2",
        torchserve="http://a:hunter2@h,http://b",
        s3_endpoint="http://a:hunter2@h",
    )
    shown = {name: shown_value(settings, name) for name in type(settings).model_fields}
    assert "hunter2" not in str(shown)
    assert shown["torchserve"] == "http://a:***@h,http://b"
    assert shown["database_password"] == "***"


def judged(*pages: dict[str, float] | None) -> tuple[CheckResult, CheckResult, list[str]]:
    answers = {str(number): page for number, page in enumerate(pages)}
    credit, memory = CheckResult(), CheckResult()
    return credit, memory, check_processes(credit, memory, list(answers), 400, answers.__getitem__)


SOUND = {"sluice_received_total": 5.0, "sluice_credit": 0.0, "process_resident_memory_bytes": 3e8}


def test_sound_processes_verify_credit_and_memory() -> None:
    credit, memory, unanswered = judged(SOUND, {"process_resident_memory_bytes": 1e8})
    assert credit.verified
    assert memory.verified
    assert not credit.breaches + memory.breaches + unanswered


def test_more_than_the_credit_and_too_much_memory_are_breaches() -> None:
    credit, memory, _ = judged(SOUND | {"sluice_credit": -2.0, "process_resident_memory_bytes": 5e8})
    assert credit.breaches == ["0: 2 objects more than its credit"]
    assert memory.breaches == ["0 has 500 MB, more than 400 MB"]


def test_credit_is_not_called_verified_without_a_consumer_or_after_refusals() -> None:
    assert not judged({"process_resident_memory_bytes": 1e8})[0].verified
    assert not judged(SOUND | {"sluice_rejected_frames_total": 1.0})[0].verified


def test_nothing_is_called_verified_while_a_process_does_not_answer() -> None:
    credit, memory, unanswered = judged(SOUND, None)
    assert unanswered == ["1"]
    assert not credit.verified
    assert not memory.verified
