"""A few kills of gateways under traffic; `scripts/chaos --gateways` does more."""

from __future__ import annotations

from tools.stack import Servers
from tools.storm.gateways import gateways_killed

KILLS = 5


def test_only_requests_in_flight_fail_and_nothing_is_half(mortal_servers: Servers) -> None:
    outcome = gateways_killed(mortal_servers, 1, KILLS, print)
    assert outcome.breaches == []
    assert outcome.kills == KILLS
    assert outcome.pictures > 0
    assert outcome.uploads > 0
