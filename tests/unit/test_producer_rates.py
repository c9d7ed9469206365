"""The rate from which a job's remaining time is computed: honest when nothing moves, and when little does."""

from __future__ import annotations

import pytest

from producer.rates import LONGEST_SECONDS, STILL_SECONDS, JobRate

LOOK = 2.0


def looks(rate: JobRate, ended: list[int], start: float = 0.0) -> list[float]:
    """Look every two seconds."""
    return [rate.look(start + LOOK * (number + 1), count) for number, count in enumerate(ended)]


def test_a_steady_job_has_its_rate_from_the_first_look() -> None:
    assert looks(JobRate(0.0, 0), [200, 400, 600]) == [100.0, 100.0, 100.0]


def test_a_job_that_stalls_has_no_rate_once_nothing_has_ended_for_a_while() -> None:
    rate = JobRate(0.0, 0)
    said = looks(rate, [2000] + [2000] * 5)
    still = int(STILL_SECONDS / LOOK)
    assert said[:still] == [1000.0] * still
    assert said[still] == 0.0


def test_a_job_that_goes_on_is_as_fast_as_it_is_soon() -> None:
    rate = JobRate(0.0, 0)
    looks(rate, [200] + [200] * 400)
    said = looks(rate, [200 + 200 * number for number in range(1, 12)], start=LOOK * 401)
    assert 200 / LONGEST_SECONDS <= said[0] <= 100
    assert said[-1] == pytest.approx(100, rel=0.05)


def test_a_slow_job_is_not_taken_for_a_fast_one() -> None:
    """One object each 20 seconds: whatever is said, is about that."""
    rate = JobRate(0.0, 0)
    said = looks(rate, [number // 10 for number in range(1, 200)])
    assert {round(each, 9) for each in said if each} == {1 / 20}
