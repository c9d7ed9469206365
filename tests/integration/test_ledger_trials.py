"""Trials as rows: they begin, are judged and end; what candidates said is shown, checked, and goes with its objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.domain import ListedObject
from sluice.domain.gates import TrialEvidence, TrialGates
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import (
    Database,
    LedgerCursor,
    Prediction,
    again,
    listing,
    models,
    predictions,
    pruning,
    reports,
    serving,
    trial_predictions,
    trials,
)
from sluice.ledger.again import Repetition
from sluice.ledger.trial_predictions import TrialPrediction
from sluice.ledger.trials import Trial, TrialWish
from tests.support.compared_jobs import add_version, age
from tests.support.ledger_rows import ask, breaches
from tests.support.tried_jobs import CHOSEN, Tried, add_tried_job, begin_trial


def look(database: Database, trial_id: int) -> Trial:
    """Do what a producer does with a trial each second, and return its row."""
    found = database.run(trials.attend, trial_id)
    assert found is not None
    return found


def live(database: Database) -> str:
    found = database.run(models.live_version, "animals")
    return found.version if found else ""


def judged(database: Database, ids: dict[bytes, int], right: dict[bytes, str]) -> None:
    """Report what objects show."""
    for key, label in right.items():
        assert database.run(reports.report, ids[key], 1, "Ada", label)


def test_a_row_of_plain_sql_waits_until_it_can_begin(ledger: Database) -> None:
    """Its message says what for, step by step."""
    ask(ledger, "INSERT INTO trials (model, share) VALUES ('animals@2', 7)")
    assert "the share is 7" in look(ledger, 1).message
    ask(ledger, "UPDATE trials SET share = 0.5")
    assert "animals@2 is not registered" in look(ledger, 1).message
    ledger.run(add_version, "2")
    assert "animals has no live version" in look(ledger, 1).message
    ledger.run(lambda cursor: add_version(cursor, "1", live=True))
    ask(ledger, "UPDATE models SET archive_sha256 = %s WHERE version = '2'", "0" * 64)
    assert "animals@2 is not served everywhere" in look(ledger, 1).message
    ask(ledger, "INSERT INTO servers (name) VALUES ('pod-1')")
    ask(ledger, "INSERT INTO servings SELECT 'pod-1', id, 'served', '', NOW(3) FROM models WHERE version = '2'")
    assert (look(ledger, 1).state, look(ledger, 1).live_id) == ("running", 2)
    ask(ledger, "UPDATE trials SET state = 'stopped'")
    assert ledger.run(trials.active) == []


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (TrialWish("animals"), "names no version"),
        (TrialWish("animals@9"), "not registered"),
        (TrialWish("animals@1"), "is live"),
        (TrialWish("lonely@1"), "no live version"),
        (TrialWish("animals@2", 0.0), "the share is 0"),
        (TrialWish("animals@2", gates=TrialGates(100, "agreement")), "a canary has no live answer"),
        (TrialWish("animals@2", gates=TrialGates(100, margin=0.7)), "the margin is 0.7"),
        (TrialWish("animals@2", gates=TrialGates(confidence=1.0)), "the confidence is 1"),
        (TrialWish("animals@2", gates=TrialGates(stop_failures=0.0)), "0 failures"),
    ],
)
def test_a_wish_that_can_never_begin_is_refused(ledger: Database, wish: TrialWish, why: str) -> None:
    ledger.run(lambda cursor: add_version(cursor, "1", live=True))
    ledger.run(add_version, "2")
    ledger.run(lambda cursor: models.register(cursor, "lonely", "1", "1" * 64, {}, ["a"]))
    with pytest.raises(ConfigurationError, match=why):
        ledger.run(trials.submit, wish)
    assert ask(ledger, "SELECT * FROM trials") == []


def test_one_trial_at_a_time_and_one_a_version(ledger: Database) -> None:
    first = begin_trial(ledger)
    with pytest.raises(ConfigurationError, match=f"trial {first} tries animals@2 already"):
        ledger.run(trials.submit, TrialWish("animals@2"))
    ledger.run(add_version, "3")
    second = ledger.run(trials.submit, TrialWish("animals@3"))
    assert f"waits for the end of trial {first}" in look(ledger, second).message
    assert ledger.run(trials.stop, first, "enough").message == "enough"
    assert ledger.run(trials.stop, first).message == "enough"
    assert look(ledger, second).state == "running"


def test_what_both_said_is_counted(ledger: Database) -> None:
    trial = begin_trial(ledger)
    pairs = [("cat", "cat"), ("cat", "cat"), ("cat", "dog"), ("dog", "")]
    ids = add_tried_job(ledger, trial, {bytes([97 + n]): Tried(*pair) for n, pair in enumerate(pairs)})
    assert breaches(ledger) == []
    judged(ledger, ids, {b"a": "cat", b"c": "dog", b"b": "dog", b"d": "dog"})
    (row,) = ask(ledger, "SELECT * FROM trial_progress")
    assert (row["mode"], row["answered"], row["failed"], row["reports"]) == ("shadow", 3, 1, 3)
    measures = ("agreement", "score_shift", "milliseconds", "live_milliseconds", "accuracy", "live_accuracy")
    assert [float(row[name]) for name in measures] == pytest.approx([2 / 3, -0.25, 20, 10, 2 / 3, 1 / 3], abs=1e-3)
    told = {(row["live_label"], row["label"]): int(row["objects"]) for row in ask(ledger, "SELECT * FROM trial_pairs")}
    assert told == {("cat", "cat"): 2, ("cat", "dog"): 1, ("dog", ""): 1}
    expected = TrialEvidence(3, 1, 2, both_right=1, only_candidate=1, both_wrong=1)
    assert ledger.run(trials.evidence, trial) == expected


def test_the_newest_report_on_an_object_is_the_truth(ledger: Database) -> None:
    trial = begin_trial(ledger)
    ids = add_tried_job(ledger, trial, {b"a": Tried("cat", "dog")})
    ledger.run(reports.report, ids[b"a"], 1, "Ada", "cat")
    ledger.run(reports.report, ids[b"a"], 2, "Bob", "dog")
    assert ledger.run(trials.evidence, trial) == TrialEvidence(1, only_candidate=1)


def test_a_candidate_that_agrees_is_promoted_by_its_gate(ledger: Database) -> None:
    trial = begin_trial(ledger, gates=TrialGates(300, "agreement", margin=0.05))
    add_tried_job(ledger, trial, {b"%03d" % n: Tried("cat", "cat") for n in range(200)})
    assert "waits for 300 answers" in look(ledger, trial).message
    assert live(ledger) == "1"
    add_tried_job(ledger, trial, {b"%03d" % n: Tried("cat", "cat") for n in range(200)})
    assert (look(ledger, trial).state, live(ledger)) == ("promoted", "2")
    assert "400 answered, 0 failed; 100.0 % agree" in look(ledger, trial).message
    with pytest.raises(LedgerError, match="promote the older version"):
        ledger.run(trials.stop, trial)


def test_reports_decide_on_accuracy(ledger: Database) -> None:
    better = begin_trial(ledger, gates=TrialGates(10))
    keys = [b"%03d" % n for n in range(40)]
    ids = add_tried_job(ledger, better, {key: Tried("cat", "dog") for key in keys})
    judged(ledger, ids, dict.fromkeys(keys[:5], "dog"))
    assert "waits for reports" in look(ledger, better).message
    judged(ledger, ids, dict.fromkeys(keys, "dog"))
    assert (look(ledger, better).state, live(ledger)) == ("promoted", "2")
    ledger.run(models.promote, "animals", "1")
    worse = begin_trial(ledger, gates=TrialGates(10))
    ids = add_tried_job(ledger, worse, {key: Tried("cat", "dog") for key in keys})
    judged(ledger, ids, dict.fromkeys(keys, "cat"))
    assert (look(ledger, worse).state, live(ledger)) == ("stopped", "1")
    assert "0.0 % say it is right, 100.0 % the live one: worse by more than 1 point" in look(ledger, worse).message


def test_a_candidate_that_fails_is_stopped(ledger: Database) -> None:
    trial = begin_trial(ledger)
    add_tried_job(ledger, trial, {b"%03d" % n: Tried("cat", "") for n in range(60)})
    assert look(ledger, trial).state == "stopped"
    assert "more than 5 % of them fail" in look(ledger, trial).message


@pytest.mark.parametrize(
    ("change", "state", "why"),
    [
        ("UPDATE models SET live = NULL WHERE version = '1'", "stopped", "animals@1, which it is compared with"),
        ("UPDATE models SET retired = NOW(3) WHERE version = '2'", "stopped", "its candidate was retired"),
        ("UPDATE models SET failed = 'no memory' WHERE version = '2'", "stopped", "no memory"),
        ("UPDATE models SET live = IF(version = '2', 1, NULL) ORDER BY version", "promoted", "by somebody"),
    ],
)
def test_it_ends_with_what_it_compares(ledger: Database, change: str, state: str, why: str) -> None:
    trial = begin_trial(ledger)
    ask(ledger, change)
    assert look(ledger, trial).state == state
    assert why in look(ledger, trial).message


def test_a_published_candidate_stays_wanted(ledger: Database) -> None:
    """Agents don't unload what a trial asks, also when it was retired long ago."""
    trial = begin_trial(ledger)
    ask(
        ledger,
        "UPDATE models SET archive_sha256 = %s, archive_bytes = 1, retired = '2026-01-01' WHERE version = '2'",
        "0" * 64,
    )
    assert [(each.version, each.is_used) for each in ledger.run(serving.wanted)] == [("1", False), ("2", True)]
    ledger.run(trials.stop, trial)
    assert [each.version for each in ledger.run(serving.wanted)] == ["1"]


def test_canary_answers_are_current_while_the_trial_runs(ledger: Database) -> None:
    """They are copied, not inferred, when the candidate becomes live and the job is done again."""
    trial = begin_trial(ledger, shadow=False)
    add_tried_job(ledger, trial, {b"a": Tried("cat", ""), b"b": Tried("", "dog")})
    assert breaches(ledger) == []

    def current() -> dict[bytes, tuple[str, str]]:
        rows = ask(ledger, "SELECT object_key, label, model FROM current")
        return {row["object_key"]: (row["label"], row["model"]) for row in rows}

    assert current() == {b"a": ("cat", "animals@1"), b"b": ("dog", "animals@2")}
    assert {row["model"] for row in ask(ledger, "SELECT model FROM results")} == {"animals@1", "animals@2"}
    ledger.run(trials.stop, trial)
    assert current() == {b"a": ("cat", "animals@1")}


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_what_was_said_in_a_trial_is_copied_when_a_job_is_done_again(ledger: Database, mode: str) -> None:
    trial = begin_trial(ledger, shadow=mode == "shadow")
    add_tried_job(ledger, trial, {b"a": Tried("cat" if mode == "shadow" else "", "dog")})
    found = ledger.run(trials.get, trial)
    assert found is not None
    page = ledger.run(again.read_page, Repetition(1), found.model_id, b"done:0")
    assert {key: (answer.label, answer.score) for key, answer in page.answers.items()} == {b"a": ("dog", 0.5)}


def test_canaries_are_judged_by_reports_on_either_s_objects(ledger: Database) -> None:
    trial = begin_trial(ledger, shadow=False, gates=TrialGates(10))
    keys = [b"%03d" % n for n in range(80)]
    said = {key: Tried("", "dog") if n % 2 else Tried("cat", "") for n, key in enumerate(keys)}
    said |= {key: Tried("cat", "cat") for key in keys[:-10:2]}
    ids = add_tried_job(ledger, trial, {key: each for key, each in said.items() if each != Tried("cat", "")})
    judged(ledger, ids, dict.fromkeys(ids, "dog"))
    seen = ledger.run(trials.evidence, trial)
    assert (seen.candidate_right, seen.candidate_reports, seen.live_right, seen.live_reports) == (40, 75, 0, 35)


def test_what_was_said_goes_with_its_object(ledger: Database) -> None:
    trial = begin_trial(ledger)
    ids = add_tried_job(ledger, trial, {b"a": Tried("cat", "cat"), b"b": Tried("cat", "dog")})
    ledger.run(listing.upsert_keys, 1, [ListedObject(b"a", "new", 1)])
    assert [row["object_id"] for row in ask(ledger, "SELECT object_id FROM trial_predictions")] == [ids[b"b"]]
    assert breaches(ledger) == []
    ask(ledger, "UPDATE jobs SET state = 'cancelled'")
    age(ledger, 1, 1)
    assert ledger.run(pruning.begin, 1)
    while ledger.run(pruning.prune, 1)[1]:
        pass
    assert ask(ledger, "SELECT * FROM trial_predictions") == []
    assert int(ask(ledger, "SELECT answered FROM trial_progress")[0]["answered"]) == 2


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE trial_predictions SET model_id = 7", "another version"),
        ("UPDATE trial_predictions SET sha256 = REPEAT(CHAR(255), 32)", "not in their trial's share"),
        ("DELETE FROM trials", "not in their trial's share"),
        ("UPDATE predictions SET sha256 = REPEAT('a', 32)", "of other bytes"),
        ("UPDATE trial_predictions SET object_id = object_id + 1000000", "no prediction"),
        ("UPDATE predictions SET model_id = 2", "by no trial"),
    ],
)
def test_breaches_are_found(ledger: Database, damage: str, sentence: str) -> None:
    add_tried_job(ledger, begin_trial(ledger), {b"a": Tried("cat", "cat")})
    ask(ledger, damage)
    assert any(sentence in each for each in breaches(ledger))


def test_an_object_that_somebody_set_back_in_sql_is_tried_again(ledger: Database) -> None:
    """Its consumer must not try for ever to commit it, and all that it answers with it."""
    trial = begin_trial(ledger)
    ids = add_tried_job(ledger, trial, {b"a": Tried("cat", "dog")})
    ask(ledger, "DELETE FROM predictions")
    ask(ledger, "UPDATE objects SET state = 'pending'")
    found = ledger.run(trials.get, trial)
    (job,) = ask(ledger, "SELECT id FROM jobs")
    assert found is not None

    def commit(cursor: LedgerCursor) -> set[int]:
        own = Prediction(ids[b"a"], job["id"], found.live_id, "cat", 0.5, (("cat", 0.5),), CHOSEN, "test")
        said = replace(own, model_id=found.model_id)
        new = predictions.commit(cursor, [own])
        trial_predictions.add(cursor, [TrialPrediction(trial, said, "", "cat", 0.5)])
        return new

    assert ledger.run(commit) == {ids[b"a"]}
    assert [row["label"] for row in ask(ledger, "SELECT label FROM trial_predictions")] == ["cat"]
