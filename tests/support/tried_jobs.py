"""Trials with given answers, for tests of what judges and shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sluice import ledger
from sluice.domain import ListedObject
from sluice.domain.gates import TrialGates
from sluice.ledger import Database, LedgerCursor, Prediction, trials
from sluice.ledger.trial_predictions import TrialPrediction
from sluice.ledger.trials import TrialWish
from tests.support.compared_jobs import SOURCE, add_version

CHOSEN = b"\0" * 32
"""A content that is in every trial's share."""


@dataclass(frozen=True)
class Tried:
    """What both versions said of an object; '' for the candidate: it failed, for the live one: it wasn't asked."""

    live: str
    candidate: str
    score: float = 0.5
    live_score: float = 0.75


def begin_trial(database: Database, *, shadow: bool = True, gates: TrialGates | None = None, share: float = 0.5) -> int:
    """Begin a trial of version 2 beside version 1."""

    def work(cursor: LedgerCursor) -> int:
        add_version(cursor, "1", live=True)
        add_version(cursor, "2")
        return trials.submit(cursor, TrialWish("animals@2", share, shadow, gates or TrialGates()))

    trial_id = database.run(work)
    begun = database.run(trials.attend, trial_id)
    assert begun is not None
    assert begun.state == "running", begun.message
    return trial_id


def add_tried_job(database: Database, trial_id: int, said: Mapping[bytes, Tried]) -> dict[bytes, int]:
    """Insert a job of version 1 whose objects are in a trial, as consumers commit them; return the objects' ids."""
    trial = database.run(trials.get, trial_id)
    assert trial is not None

    def work(cursor: LedgerCursor) -> dict[bytes, int]:
        job = ledger.jobs.submit(cursor, SOURCE)
        assert ledger.jobs.start(cursor, job, trial.live_id)
        page = [ListedObject(key, "e", 1) for key in sorted(said)]
        ledger.listing.add_page(cursor, job, page, repeat_no=0, last=True, repeats=1)
        cursor.execute("SELECT id, object_key FROM objects WHERE job_id = %s ORDER BY id", (job,))
        ids = {row["object_key"]: int(row["id"]) for row in cursor.fetchall()}
        own, tried = [], []
        for key, number in ids.items():
            each = said[key]
            by, label = (trial.live_id, each.live) if each.live else (trial.model_id, each.candidate)
            score = each.live_score if each.live else each.score
            own.append(Prediction(number, job, by, label, score, ((label, score),), CHOSEN, "test"))
            top = ((each.candidate, each.score),) if each.candidate else ()
            answer = Prediction(
                number, job, trial.model_id, each.candidate, each.score if top else 0.0, top, CHOSEN, "test"
            )
            beside = each.live if trial.wish.shadow else ""
            tried.append(
                TrialPrediction(
                    trial_id,
                    answer,
                    "" if top else "broken",
                    beside,
                    each.live_score if beside else 0.0,
                    (0.02, 0.01) if top else None,
                )
            )
        ledger.predictions.commit(cursor, own)
        ledger.trial_predictions.add(cursor, tried)
        assert ledger.jobs.finish(cursor, job)
        return ids

    return database.run(work)
