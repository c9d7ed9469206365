"""How much the gateway takes on: by pictures, by bytes, and by how fast it answers."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from gateway.admission import LEAST, LONGEST_SECONDS, LONGEST_WAIT, Admission
from sluice.errors import Busy


class PacedClock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def answer_at(admission: Admission, clock: PacedClock, pace: float, seconds: float = 60.0) -> None:
    """Let a gateway answer so many pictures a second for a while."""
    for _ in range(int(pace * seconds)):
        clock.now += 1 / pace
        admission.answered(1)


def test_so_many_pictures_and_no_more_are_inside_at_once() -> None:
    admission = Admission(3, 10**9)
    with admission.hold(2, 10), admission.hold(1, 10):
        with (
            pytest.raises(Busy, match="3 pictures are at work, 3 at once is the most") as refused,
            admission.hold(1, 10),
        ):
            pytest.fail("a fourth picture was taken")
        assert refused.value.status == 503
        assert 1 <= refused.value.seconds <= LONGEST_SECONDS
    with admission.hold(3, 10):
        pass


def test_so_many_bytes_and_no_more_are_inside_at_once() -> None:
    admission = Admission(100, 1000)
    with admission.hold(1, 800):
        with pytest.raises(Busy, match="800 bytes are at work"), admission.hold(1, 300):
            pytest.fail("more bytes were taken than may be inside")
        with admission.hold(1, 200):
            pass


def test_what_is_larger_than_all_bounds_is_taken_by_a_gateway_that_has_nothing_to_do() -> None:
    """Else it would be told to come back for ever."""
    with Admission(3, 1000).hold(5, 9000):
        pass


def test_what_is_inside_is_let_go_of_when_work_fails() -> None:
    admission = Admission(1, 1000)
    with pytest.raises(ZeroDivisionError), admission.hold(1, 10):
        _ = 1 / 0
    with admission.hold(1, 10):
        pass


def test_a_slow_gateway_takes_what_it_can_answer_soon() -> None:
    clock = PacedClock()
    admission = Admission(1000, 10**9, clock)
    answer_at(admission, clock, pace=2.0)
    most = round(2.0 * LONGEST_WAIT)
    with admission.hold(most, 10), pytest.raises(Busy) as refused, admission.hold(2, 10):
        pytest.fail("it would have been answered late")
    assert refused.value.seconds >= 2


def test_however_slow_it_is_some_pictures_are_taken() -> None:
    clock = PacedClock()
    admission = Admission(1000, 10**9, clock)
    answer_at(admission, clock, pace=0.05, seconds=600)
    with admission.hold(LEAST, 10):
        pass


def test_a_fast_gateway_is_bound_by_the_setting_alone() -> None:
    clock = PacedClock()
    admission = Admission(50, 10**9, clock)
    answer_at(admission, clock, pace=200.0)
    with admission.hold(50, 10), pytest.raises(Busy), admission.hold(1, 10):
        pytest.fail("a picture beyond the setting was taken")


def test_a_pause_does_not_look_like_slowness() -> None:
    clock = PacedClock()
    admission = Admission(64, 10**9, clock)
    for _ in range(100):
        clock.now += 60
        with admission.hold(1, 10):
            clock.now += 0.05
        admission.answered(1)
    clock.now += 600
    with admission.hold(1, 10):
        clock.now += 0.05
    admission.answered(1)
    with ExitStack() as inside:
        for _ in range(64):
            inside.enter_context(admission.hold(1, 10))
