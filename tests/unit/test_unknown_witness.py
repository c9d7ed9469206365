"""When the unknown storm's witness sees progress."""

from __future__ import annotations

import itertools
from math import inf
from typing import Any

from tools.storm.unknown.witness import FINISHED, UNFINISHED, Witness


class Tables:
    """The database's tables; the test changes them between looks."""

    def __init__(self) -> None:
        self.unfinished = [{"id": 1, "watch": 1}, {"id": 2, "watch": 0}]
        self.finished: list[dict[str, Any]] = []
        self.pending = 10
        self.decided = 0

    def ask(self, statement: str) -> list[dict[str, Any]]:
        if statement == UNFINISHED:
            return self.unfinished
        if statement == FINISHED:
            return self.finished
        return [{"pending": self.pending, "decided": self.decided}]


def test_only_decisions_and_ended_jobs_are_progress() -> None:
    tables = Tables()
    watching = Witness(tables.ask, lambda: False)
    watching._look()
    assert watching._look() == (False, True)
    tables.decided = 5
    assert watching._look() == (True, True)
    tables.decided, tables.pending = 4, 11  # one was superseded, and its new version is pending
    assert watching._look() == (False, True)
    tables.unfinished, tables.finished = tables.unfinished[:1], [{"id": 2, "finished": "noon"}]
    tables.decided = tables.pending = 0
    assert watching._look() == (True, False)
    tables.unfinished = [*tables.unfinished, {"id": 3, "watch": 0}]
    assert watching._look() == (False, True)


def test_a_job_that_ran_again_ended_when_it_was_done_for_the_last_time() -> None:
    tables, moments = Tables(), itertools.count(1.0)
    watching = Witness(tables.ask, lambda: False, lambda: next(moments))
    assert watching.finished(2) == inf
    tables.unfinished, tables.finished = tables.unfinished[:1], [{"id": 2, "finished": "noon"}]
    watching._look()
    first = watching.finished(2)
    watching._look()
    assert watching.finished(2) == first
    # A change that was reported late reopened it, and it was done again before the next look.
    tables.finished = [{"id": 2, "finished": "one"}]
    assert watching._look() == (True, True)
    assert first < watching.finished(2) < inf
