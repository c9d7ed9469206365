"""Requests that nobody would write: a small round of `scripts/attack`, as each role, on a whole stack."""

from __future__ import annotations

from tools.attack.house import ROLES, furnish
from tools.attack.run import attack
from tools.stack import Servers, Stack

REQUESTS = 150
EXAMPLES = 4
SEED = 1


def test_no_request_gets_an_answer_that_the_description_lacks(servers: Servers) -> None:
    servers.start()
    with Stack(servers, "fuzzed") as stack:
        attackers = furnish(stack)
        for role in ROLES:
            found = attack(attackers[role], REQUESTS, SEED, EXAMPLES, "fuzzing")
            assert not found["breaches"], f"as {role}: {found['breaches']}\n{found['said']}"
            assert found["requests"] >= REQUESTS
            assert "500" not in found["statuses"]
            # Not only closed doors: a viewer may look at more than these.
            assert len(found["accepted"]) >= 5, found["accepted"]
