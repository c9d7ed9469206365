"""What is attacked: two gateways on one stack, one of them open to strangers, and an attacker of each role."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal

from sluice.ledger import Database, LedgerCursor, owners, progress
from tools.stack import Gateway, Stack, start_all
from tools.stack.programs import add_program
from tools.storm.pictures import picture

RoleOf = Literal["stranger", "viewer", "user", "admin"]

ROLES: Final[tuple[RoleOf, ...]] = ("stranger", "viewer", "user", "admin")
"""The admin comes last: it deletes the others."""
BUCKET: Final = "attacked"
PICTURES: Final = 5
WAIT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Attacker:
    """Somebody of a role, with a token that lasts; `own` are the paths that would end it."""

    role: RoleOf
    gateway: Gateway
    token: str = ""
    own: tuple[str, ...] = ()

    @property
    def is_stranger(self) -> bool:
        """Return whether nobody knows this one."""
        return not self.token


def start_gateways(stack: Stack) -> tuple[Gateway, Gateway]:
    """Start one gateway that strangers may do nothing at, and one where they may do what users may, signing up too."""
    common = {"gateway_rate": 0, "gateway_classic": True, "gateway_sources": f"s3://{BUCKET}/"}
    closed = stack.add_gateway(**common)
    opened = stack.add_gateway(gateway_anonymous="user", gateway_signup="open", **common)
    start_all(closed, opened)
    return closed, opened


def furnish(stack: Stack) -> dict[RoleOf, Attacker]:
    """Start everything, have a job done that has results and a quarantine, and return an attacker of each role."""
    files = [(f"{number}.jpg", picture(number)) for number in range(PICTURES)]
    stack.servers.s3.fill(BUCKET, [*files, ("notes.txt", b"no picture")])
    stack.start_workers(consumers=1)
    closed, opened = start_gateways(stack)
    with Database(stack.settings) as database:
        found: dict[RoleOf, Attacker] = {"stranger": Attacker("stranger", opened)}
        for role in ROLES[1:]:
            found[role] = database.run(_add, role, closed)
        job_id = database.run(owners.submit_for, 0, f"s3://{BUCKET}/")
        deadline = time.monotonic() + WAIT_SECONDS
        while (seen := database.run(progress.progress, job_id)) is None or seen.state != "done":
            if time.monotonic() > deadline:
                raise SystemExit(f"the job that is to be attacked isn't done: {seen}")
            time.sleep(POLL_SECONDS)
    return found


def _add(cursor: LedgerCursor, role: RoleOf, gateway: Gateway) -> Attacker:
    made = add_program(cursor, f"attacker {role}", f"{role}@attack.example", role)
    own = (f"/api/v1/users/{made.id}", f"/user/{made.id}", f"/api/v1/tokens/{made.token_id}")
    return Attacker(role, gateway, made.token, own)
