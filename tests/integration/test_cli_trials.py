"""`sluice models trial` and `trials`: what they write, show and refuse."""

from __future__ import annotations

import pytest

from sluice.ledger import Database, trials
from tests.support.cli_runs import Sluice, run_in_process
from tests.support.compared_jobs import add_version
from tests.support.tried_jobs import Tried, add_tried_job


@pytest.fixture
def sluice(database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    return run_in_process({"SLUICE_DATABASE_URL": database_url}, monkeypatch, capfd)


def test_a_trial_is_begun_followed_and_stopped(sluice: Sluice, ledger: Database) -> None:
    assert "no trial yet" in sluice("models", "trials")[1]
    ledger.run(lambda cursor: add_version(cursor, "1", live=True))
    ledger.run(add_version, "2")
    condition = "n >= 2000 and accuracy >= -2"
    code, out, _ = sluice("models", "trial", "animals@2", "--share", 0.25, "--shadow", "--promote-when", condition)
    assert (code, out.splitlines()[0]) == (0, "trial 1")
    found = ledger.run(trials.attend, 1)
    assert found is not None
    assert (found.wish.share, found.wish.gates.promote_n, found.wish.gates.margin) == (0.25, 2000, 0.02)
    add_tried_job(ledger, 1, {b"a": Tried("cat", "cat"), b"b": Tried("cat", "dog"), b"c": Tried("cow", "")})
    assert sluice("models", "trials")[1].splitlines()[1].split()[:6] == [
        "1",
        "animals@2",
        "shadow",
        "25",
        "%",
        "running",
    ]
    shown = sluice("models", "trials", 1)[1]
    for line in (
        "2, and 1 failed",
        "50.0 %",
        "20.0 ms a picture, the live version 10.0 ms",
        "no report yet",
        "(failed)",
    ):
        assert line in shown
    assert sluice("models", "trial", "animals@2", "--stop")[:2] == (0, "trial 1 is stopped\n")
    assert "stopped by" in sluice("models", "trials", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["trial", "animals@1", "--shadow"], "is live"),
        (["trial", "animals@2", "--promote-when", "soon"], "write it as"),
        (["trial", "animals@2", "--share", "7"], "the share is 7"),
        (["trial", "animals@2", "--stop"], "has no trial"),
        (["trials", "9"], "there is no trial 9"),
    ],
)
def test_what_can_not_be_is_said(sluice: Sluice, ledger: Database, arguments: list[str], why: str) -> None:
    ledger.run(lambda cursor: add_version(cursor, "1", live=True))
    ledger.run(add_version, "2")
    code, out, err = sluice("models", *arguments)
    assert (code > 0, out, why in err) == (True, "", True), err
