"""Two gateways, killed in turn by chance while people use pages, API and batches; only what was in flight may fail."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from sluice import ledger
from sluice.ledger import Database, LedgerCursor, users
from tools.stack import Gateway, Servers, Stack, start_all
from tools.stack.programs import add_program
from tools.storm.pictures import picture
from tools.storm.visitors import (
    MEMBERS,
    ArchiveSender,
    GatewayKill,
    KillJournal,
    PageVisitor,
    RoundRobin,
    keep_on,
    use_api,
)

ANSWERS: Final = (5, 25)
"""So many answers come between a gateway that is ready again and the next kill."""
WAIT_SECONDS: Final = 180.0
TICK_SECONDS: Final = 0.02
UNDER_WAY: Final = ("pending", "running")
ROWS: Final = "SELECT object_id AS id, sha256 FROM predictions"
JOBS: Final = (
    "SELECT u.id AS upload, j.id AS job FROM jobs j LEFT JOIN uploads u ON u.job_id = j.id WHERE j.source LIKE '%.zip'"
)
TWICE: Final = "SELECT name, COUNT(*) AS jobs FROM uploads WHERE job_id IS NOT NULL GROUP BY name HAVING COUNT(*) > 1"


@dataclass
class KillOutcome:
    """What came of a seed's kills."""

    seed: int
    kills: int = 0
    seconds: float = 0.0
    answered: int = 0
    refused: int = 0
    broken: int = 0
    resent: int = 0
    pictures: int = 0
    uploads: int = 0
    breaches: list[str] = field(default_factory=list)


def gateways_killed(servers: Servers, seed: int, kills: int, say: Callable[[str], None]) -> KillOutcome:
    """Kill gateways so many times under traffic, and compare what people were told with what is in the ledger."""
    outcome, journal = KillOutcome(seed), KillJournal()
    begun = time.monotonic()
    servers.start()
    with Stack(servers, f"gateways{seed}") as stack, Database(stack.settings) as database:
        stack.start_workers(consumers=1)
        gateways = [stack.add_gateway(gateway_rate=0) for _ in range(2)]
        start_all(*gateways)
        people = _people(stack, database, gateways, journal)
        stop = threading.Event()
        with ThreadPoolExecutor(len(people.traffic)) as threads:
            running = [threads.submit(keep_on, work, stop) for work in people.traffic]
            try:
                _kill(gateways, random.Random(seed), kills, journal, say)  # noqa: S311 - kills must be repeatable
            finally:
                stop.set()
        for each in running:
            each.result()
        _judge(database, journal, outcome)
        for person in people.visitors:
            person.visit()
        outcome.kills, outcome.seconds = len(journal.kills), time.monotonic() - begun
        outcome.answered, outcome.refused, outcome.broken = journal.answered, journal.refused, journal.broken
        outcome.resent = journal.resent
        outcome.pictures, outcome.uploads = len(journal.pictures), len(journal.uploads)
        outcome.breaches += journal.breaches
        if outcome.breaches:
            say(f"seed {seed}: {outcome.breaches}\n{stack.log_tails()}")
    return outcome


@dataclass(frozen=True, slots=True)
class _People:
    visitors: list[PageVisitor]
    traffic: list[Callable[[], None]]


def _people(stack: Stack, database: Database, gateways: list[Gateway], journal: KillJournal) -> _People:
    """Return two who use the page, two programs and one who sends archives, each at both gateways in turn."""
    email = str(stack.settings.gateway_admin)
    numbers: Iterator[int] = itertools.count()
    gateways[0].wait_until(lambda: database.run(users.has_admin), WAIT_SECONDS)
    visitors = []
    for _ in range(2):
        visitors.append(PageVisitor(RoundRobin(gateways, journal), journal, numbers))
        visitors[-1].sign_in(email, stack.admin_password)
    token = database.run(add_program, "program", "program@killed.example", "user").token
    traffic: list[Callable[[], None]] = [each.visit for each in visitors]
    for _ in range(2):
        robin = RoundRobin(gateways, journal)
        traffic.append(lambda robin=robin: use_api(robin, journal, numbers, token))  # type: ignore[misc]
    traffic.append(ArchiveSender(RoundRobin(gateways, journal), journal, numbers, token).send)
    return _People(visitors, traffic)


def _kill(
    gateways: list[Gateway], chance: random.Random, kills: int, journal: KillJournal, say: Callable[[str], None]
) -> None:
    """Kill one or the other, have it back, and go on."""
    for number in range(kills):
        victim = chance.choice(gateways)
        _await_answers(journal, chance.randint(*ANSWERS))
        with journal.lock:
            begun = time.monotonic()
            victim.kill()
            journal.away.add(victim)
            journal.kills.append(GatewayKill(victim, begun, time.monotonic()))
        victim.start()
        victim.wait_ready(WAIT_SECONDS)
        journal.away.discard(victim)
        say(f"kill {number + 1} of {kills}: {victim.name}; {journal.answered} answers so far")
    _await_answers(journal, ANSWERS[1])


def _await_answers(journal: KillJournal, more: int) -> None:
    wanted, deadline = journal.answered + more, time.monotonic() + WAIT_SECONDS
    while journal.answered < wanted and not journal.breaches:
        if time.monotonic() > deadline:
            journal.breaches.append(f"fewer than {more} answers in {WAIT_SECONDS:g} s")
        time.sleep(TICK_SECONDS)


def _judge(database: Database, journal: KillJournal, outcome: KillOutcome) -> None:
    """Note what people were told and the ledger doesn't know, and what is half."""
    rows = {row["id"]: bytes(row["sha256"]) for row in database.run(_rows, ROWS)}
    for object_id, number in journal.pictures.items():
        if rows.get(object_id) != hashlib.sha256(picture(number)).digest():
            outcome.breaches.append(f"object {object_id} was answered, and is not in the ledger as picture {number}")
    found = {row["upload"]: row["job"] for row in database.run(_rows, JOBS)}
    outcome.breaches += [f"job {job} is of no upload" for upload, job in found.items() if upload is None]
    outcome.breaches += [
        f"upload {upload} was answered as job {job}, the ledger has {found.get(upload)}"
        for upload, job in journal.uploads.items()
        if found.get(upload) != job
    ]
    outcome.breaches += [f"{row['name']} has {row['jobs']} jobs" for row in database.run(_rows, TWICE)]
    deadline = time.monotonic() + WAIT_SECONDS
    # Also those whose answer died with the gateway: what is there is whole.
    for job in found.values():
        seen = database.run(ledger.progress.progress, job)
        while seen is not None and seen.state in UNDER_WAY and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
            seen = database.run(ledger.progress.progress, job)
        if seen is None or (seen.state, seen.done) != ("done", MEMBERS):
            outcome.breaches.append(f"job {job} is half: {seen}")
    outcome.breaches += [
        f"{breach.invariant}: {breach.count} {breach.sentence}, such as {breach.rows[:5]}"
        for breach in database.run(ledger.check.check)
    ]


def _rows(cursor: LedgerCursor, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    return list(cursor.fetchall())
