"""A tenth of the unknown storm, with a new seed each time; the seed is printed, and repeats the storm."""

from __future__ import annotations

import sys

import pytest

from tools.stack import Servers
from tools.storm.unknown.draw import KINDS, Cast, draw
from tools.storm.unknown.storm import fresh_seed, print_unknown, unknown_storm

SECONDS = 30.0
CAST = Cast(consumers=2, shards=1)
POOL = 300


def test_a_seed_means_the_same_storm() -> None:
    assert draw(1, 300.0, Cast()) == draw(1, 300.0, Cast())
    assert draw(1, 300.0, Cast()) != draw(2, 300.0, Cast())


def test_all_kinds_are_drawn_and_end_within_the_run() -> None:
    drawn = [blow for seed in range(20) for blow in draw(seed, 300.0, Cast())]
    assert {blow.kind for blow in drawn} == {*KINDS}
    assert all(blow.at >= 0.0 and blow.at + blow.lasts <= 300.0 for blow in drawn)


def test_an_unknown_storm_breaks_nothing(mortal_servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    seed = fresh_seed()
    with capsys.disabled():  # print the seed of successful runs, too
        sys.stdout.write(f"\nunknown storm of seed {seed}\n")
    outcome = unknown_storm(mortal_servers, seed, SECONDS, CAST, print, POOL)
    print_unknown([outcome])
    assert outcome.breaches == [], f"seed {seed}, {outcome.logs}"
    assert outcome.rows > 0
