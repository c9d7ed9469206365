from __future__ import annotations

import pytest

from producer.backlog import Backlog, JobQueue
from producer.leased import StreamedObject


def thing(number: int, job: int = 1, deaths: int = 0) -> StreamedObject:
    return StreamedObject(number, job, 1, "s3://b", b"k", "e", 10, deaths)


def ids(backlog: Backlog, *, suspects: bool = False, now: float = 0.0) -> list[int]:
    taken = []
    while (found := backlog.take(now, suspects=suspects)) is not None:
        taken.append(found.id)
    return taken


def test_higher_priority_goes_first_and_equals_take_turns() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0, 2: 0, 3: 5})
    backlog.add([thing(n, job) for job in (1, 2, 3) for n in (job * 10, job * 10 + 1)])
    assert ids(backlog) == [30, 31, 10, 20, 11, 21]


def test_what_is_in_hand_is_not_taken_in_twice() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    assert backlog.add([thing(1), thing(2)]) == 2
    assert backlog.add([thing(1), thing(2), thing(3)]) == 1
    assert len(backlog) == 3


def test_an_object_that_finishes_while_a_page_is_read_is_not_taken_in_again() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    backlog.add([thing(1)])
    backlog.begin_read()
    backlog.finish(thing(1))
    assert backlog.add([thing(1)]) == 0
    backlog.begin_read()
    assert backlog.add([thing(1)]) == 1  # for example replayed


def test_redelivered_objects_go_first_and_delayed_ones_when_due() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    backlog.add([thing(n) for n in (1, 2, 3)])
    first, second = backlog.take(0.0, suspects=False), backlog.take(0.0, suspects=False)
    assert first
    assert second
    backlog.requeue(first, 0.0, delay=5.0)
    backlog.requeue(second, 0.0)
    assert ids(backlog) == [2, 3]
    assert ids(backlog, now=4.9) == []
    assert ids(backlog, now=5.0) == [1]


def test_suspects_are_only_taken_when_asked_for() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    backlog.add([thing(1, deaths=1), thing(2)])
    assert ids(backlog) == [2]
    assert ids(backlog, suspects=True) == [1]


def test_a_held_job_lets_others_pass() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 9, 2: 0})
    backlog.add([thing(1, 1), thing(2, 2)])
    backlog.hold(1, until=10.0)
    assert ids(backlog, now=1.0) == [2]
    assert ids(backlog, now=10.0) == [1]


def test_a_stopped_job_is_forgotten_but_for_what_is_out() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    backlog.add([thing(1), thing(2), thing(3)])
    out = backlog.take(0.0, suspects=False)
    assert out
    assert backlog.set_jobs({}) == [1]
    assert len(backlog) == 1
    backlog.set_jobs({1: 0})
    assert backlog.in_hand(1) == 1
    assert backlog.add([thing(1), thing(2), thing(3)]) == 2
    backlog.requeue(out, 0.0)
    assert ids(backlog) == [1, 2, 3]


def test_what_comes_back_of_a_stopped_job_is_let_go() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0})
    backlog.add([thing(1)])
    out = backlog.take(0.0, suspects=False)
    assert out
    backlog.set_jobs({})
    backlog.requeue(out, 0.0)
    assert len(backlog) == 0


def test_a_job_whose_model_gives_no_predictions_rests_longer_each_time_until_it_does() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0, 2: 0})
    assert [backlog.rest(1, 0.0, "the model raises") for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert (backlog.why_resting(1), backlog.why_resting(2), backlog.why_resting(3)) == ("the model raises", "", "")
    backlog.predicts(1)
    assert backlog.why_resting(1) == ""
    assert backlog.rest(1, 0.0, "again") == 1.0
    assert backlog.rest(3, 0.0, "of a job that doesn't run") == 0.0
    backlog.begin_read()
    backlog.add([thing(1, job=1), thing(2, job=2)])
    assert [found.id for found in (backlog.take(7.9, suspects=True), backlog.take(8.0, suspects=True)) if found] == [
        2,
        1,
    ]


def test_jobs_of_which_nothing_waits_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    take = JobQueue.take

    def looked_at(queue: JobQueue, now: float, *, suspects: bool) -> StreamedObject | None:
        looked.append(queue)
        return take(queue, now, suspects=suspects)

    monkeypatch.setattr(JobQueue, "take", looked_at)
    backlog = Backlog()
    backlog.set_jobs(dict.fromkeys(range(1, 1001), 0))
    backlog.add([thing(n, 1000) for n in (1, 2)])
    assert ids(backlog) == [1, 2]
    assert len(looked) == 2


def test_a_job_takes_its_turn_among_its_new_equals_when_its_priority_changes() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0, 2: 0, 3: 5})
    backlog.add([thing(n, job) for job in (1, 2, 3) for n in (job * 10, job * 10 + 1)])
    backlog.set_jobs({1: 5, 2: 0, 3: 5})
    assert ids(backlog) == [30, 10, 31, 11, 20, 21]
    backlog.requeue(thing(11, 1), 0.0)
    backlog.requeue(thing(21, 2), 0.0)
    backlog.set_jobs({1: -1, 2: 0, 3: 5})
    assert ids(backlog) == [21, 11]


def test_what_waits_of_all_jobs_is_counted_whatever_becomes_of_it() -> None:
    backlog = Backlog()
    backlog.set_jobs({1: 0, 2: 1})
    backlog.add([*(thing(n, 1) for n in (1, 2, 3)), *(thing(n, 2) for n in (4, 5))])
    taken = backlog.take(0.0, suspects=False)
    assert taken == thing(4, 2)
    assert backlog.all_waiting() == backlog.waiting(1) + backlog.waiting(2) == 4
    backlog.requeue(taken, 0.0, delay=5.0)
    assert backlog.all_waiting() == 5
    backlog.set_jobs({1: 0})
    assert backlog.all_waiting() == backlog.waiting(1) == 3
    backlog.requeue(thing(5, 2), 0.0)  # its job is gone
    backlog.forget(1)
    assert backlog.all_waiting() == 0
    assert ids(backlog) == []
