"""The storm of three seeds, smaller than that of scripts/chaos: nothing is lost or doubled."""

from __future__ import annotations

import pytest

from tools.stack import Servers
from tools.storm.pictures import pictures
from tools.storm.schedule import Counts, make_schedule
from tools.storm.storm import BUCKET, storm

OBJECTS = 1000
COUNTS = Counts().scaled(OBJECTS / 20_000)


@pytest.fixture(scope="module")
def filled(mortal_servers: Servers) -> Servers:
    mortal_servers.start()
    mortal_servers.s3.fill(BUCKET, pictures(OBJECTS))
    return mortal_servers


def test_a_seed_means_the_same_storm() -> None:
    assert make_schedule(1, Counts()) == make_schedule(1, Counts())
    assert make_schedule(1, Counts()) != make_schedule(2, Counts())


def test_a_schedule_has_all_faults_and_each_kind_is_in_a_small_one() -> None:
    kinds = [fault.kind for fault in make_schedule(1, Counts())]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "consumer": 40,
        "producer": 5,
        "database": 3,
        "torchserve": 2,
        "drain": 20,
    }
    assert {fault.kind for fault in make_schedule(1, COUNTS)} == set(kinds)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_storm_loses_nothing_and_doubles_nothing(filled: Servers, seed: int) -> None:
    outcome = storm(filled, seed, OBJECTS, COUNTS, print)
    assert outcome.breaches == []
    assert sum(outcome.blows.values()) == len(make_schedule(seed, COUNTS))
    assert (outcome.lost, outcome.duplicate) == (0, 0)
