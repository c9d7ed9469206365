"""Runs one unknown storm from its seed to the verdict, and prints the table of several."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from tools.stack import Servers, Stack, StackError
from tools.stack.proxy import ProxyLoop
from tools.storm.unknown.ailments import Ailments
from tools.storm.unknown.arrivals import Arrivals
from tools.storm.unknown.clock import Clock
from tools.storm.unknown.draw import Blow, Cast, draw
from tools.storm.unknown.journal import Journal
from tools.storm.unknown.judgement import QUESTIONS, Finding, Judge, compare_bucket
from tools.storm.unknown.links import USER, Links
from tools.storm.unknown.weather import Told, Weather
from tools.storm.unknown.witness import Witness, ask
from tools.storm.unknown.writer import Writer

STALL_SECONDS: Final = 60.0
CALM_SECONDS: Final = 180.0
"""Maximum time for all work to finish, after the last fault is over."""
START_SECONDS: Final = 120.0
MEMORY_MB: Final = 450.0
SEEDS: Final = 1_000_000
LISTED_FINDINGS: Final = 12
SETTINGS: Final[dict[str, object]] = {
    "cache_entries": 0,
    "database_timeout": 5.0,
    "database_patience": 10.0,
    "s3_timeout": 5.0,
    "torchserve_timeout": 20.0,
    "torchserve_patience": 10.0,
}


@dataclass
class Unknown:
    """The result of one seed; it is good if there are no breaches."""

    seed: int
    seconds: float
    told: Told = field(default_factory=Told)
    jobs: int = 0
    rows: int = 0
    writings: int = 0
    stall: float = 0.0
    excused: float = 0.0
    calm: float = 0.0
    """Seconds from the end of the last fault to the end of all work."""
    findings: list[Finding] = field(default_factory=list)
    logs: Path | None = None

    @property
    def breaches(self) -> list[str]:
        """Return everything that is wrong."""
        return [*self.told.breaches, *map(str, self.findings)]

    def count(self, *kinds: str) -> int:
        """Count the findings of these kinds."""
        kinds_found = Counter(finding.kind for finding in self.findings)
        return sum(kinds_found[kind] for kind in kinds)


def fresh_seed() -> int:
    """Return a random seed."""
    return random.SystemRandom().randrange(SEEDS)


def unknown_storm(
    servers: Servers, seed: int, seconds: float, cast: Cast, say: Callable[[str], None], pool: int = 600
) -> Unknown:
    """Run a seed's storm for so many seconds, let all work finish, and check the result."""
    say(f"unknown storm of seed {seed}, {seconds:g} s")
    outcome = Unknown(seed, seconds)
    clock = Clock(servers.folder, "database")
    schema = f"unknown{seed}"
    if servers.database.variables != clock.variables:
        servers.database.stop()
        servers.database.variables = clock.variables
    servers.start()
    journal = Journal()
    writer = Writer(servers.s3, schema, journal)
    arrivals = Arrivals(servers.database, schema, schema, writer, journal)
    ailments = Ailments(cast)
    writer.start()
    arrivals.fill(seed, pool)
    with ProxyLoop() as loop, Stack(servers, schema, **SETTINGS) as stack:
        links = Links(loop, servers, schema, cast)
        _let_in(servers, schema)
        _add_workers(stack, links, cast)
        witness = Witness(partial(ask, servers.database, schema), ailments.explain)
        weather = Weather(stack, links, clock, arrivals, ailments)
        outcome.told = weather.told
        try:
            witness.start()
            arrivals.start(witness, pool // 2)
            weather.rage(draw(seed, seconds, cast), seconds, say)
            weather.hands.write_again()
            if ailments.explain():
                raise StackError("a fault that is over still counts as an excuse: the stall can't be believed")
            arrivals.stop()
            say(f"seed {seed}: everything is repaired, {witness.sight.pending} objects are pending")
            tables = _calm(servers, schema, Judging(outcome, weather, witness, arrivals, journal))
            weather.stop_workers()
        finally:
            witness.stop()
            links.close()
        outcome.findings += compare_bucket(journal, writer.read_all())
        outcome.findings += Judge(journal, arrivals.jobs, tables).findings()
        outcome.rows, outcome.jobs = len(tables["rows"]), len(arrivals.jobs)
        outcome.writings = sum(len(journal.of(key)) for key in journal.list_keys())
        outcome.stall, outcome.excused = witness.sight.longest, witness.sight.excused
        if outcome.stall > STALL_SECONDS:
            outcome.told.breaches.append(f"no new row for {outcome.stall:.0f} s that no fault explains")
        if outcome.told.peak_mb > MEMORY_MB:
            outcome.told.breaches.append(f"a worker had {outcome.told.peak_mb:.0f} MB")
        if outcome.breaches:
            outcome.logs = _keep(servers, stack, journal, outcome, draw(seed, seconds, cast))
    return outcome


@dataclass(frozen=True, slots=True)
class Judging:
    """What the end of a storm is checked with."""

    outcome: Unknown
    weather: Weather
    witness: Witness
    arrivals: Arrivals
    journal: Journal


def _calm(servers: Servers, schema: str, with_: Judging) -> dict[str, list[dict[str, Any]]]:
    """Wait until all work has finished by itself, and return the tables as they are then."""
    begun = time.monotonic()
    watch = with_.arrivals.jobs[0]
    while True:
        for _ in range(10):
            with_.weather.tick()
        sight = with_.witness.sight
        over = time.monotonic() - begun > CALM_SECONDS
        if over or not (sight.pending or sight.running):
            tables = {name: ask(servers.database, schema, question) for name, question in QUESTIONS.items()}
            states = {row["id"]: row["state"] for row in tables["jobs"]}
            missing = Judge(with_.journal, with_.arrivals.jobs, tables).missing(watch)
            ended = all(job.watch or states[job.job] == "done" for job in with_.arrivals.jobs)
            if over or (ended and not missing):
                break
    with_.outcome.calm = time.monotonic() - begun
    if over:
        with_.outcome.told.breaches.append(
            f"not at its end {CALM_SECONDS:g} s after the last fault: {sight.pending} pending, {sight.running} jobs "
            f"running, not under the watch: {missing[:5]}"
        )
    for job in with_.arrivals.jobs:
        job.until = with_.witness.finished(job.job)
    return tables


def _let_in(servers: Servers, schema: str) -> None:
    """Create the workers' own user, because an administrator can write to a read-only database."""
    password = servers.database.password
    ask(servers.database, "", f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{password}'")
    ask(servers.database, "", f"GRANT ALL ON `{schema}`.* TO '{USER}'@'127.0.0.1'")


def _add_workers(stack: Stack, links: Links, cast: Cast) -> None:
    """Add and start a producer for each shard, a standby for shard 0, and the consumers."""
    for number in range(cast.shards + 1):
        shard = {"shard": number % cast.shards, "shards": cast.shards}
        stack.add_producer(**shard, **dict(links.settings(f"producer-{number}")))
    for number in range(cast.consumers):
        stack.add_consumer(**dict(links.settings(f"consumer-{number}")))
    for worker in stack.workers:
        worker.start()
    for worker in stack.workers:
        # Don't wait until they are ready: that needs a producer at each address, and one is a standby.
        worker.wait_until(lambda worker=worker: bool(worker.metrics()), START_SECONDS)  # type: ignore[misc]


def _keep(servers: Servers, stack: Stack, journal: Journal, outcome: Unknown, blows: Sequence[Blow]) -> Path:
    """Save everything for debugging: the logs, the journal, the faults, the findings."""
    folder = Path(tempfile.mkdtemp(prefix=f"sluice-unknown-{outcome.seed}-"))
    for server in [*stack.workers, *servers.all]:
        shutil.copy(server.log, folder)
    journal.dump(folder / "journal.jsonl")
    (folder / "blows.txt").write_text("".join(f"{blow}\n" for blow in blows))
    (folder / "breaches.txt").write_text("".join(f"{breach}\n" for breach in outcome.breaches))
    return folder


def print_unknown(outcomes: Sequence[Unknown]) -> None:
    """Print a row for each seed, and everything that was broken."""
    heads = ["seed", "seconds", "blows", "missed", "jobs", "rows", "written", "lost", "doubled", "wrong bytes",
             "innocent", "stall s", "excused s", "end s", "peak MB", "breaches"]  # fmt: skip
    print("  ".join(f"{head:>{max(7, len(head))}}" for head in heads))
    for outcome in outcomes:
        cells = [
            outcome.seed,
            f"{outcome.seconds:g}",
            outcome.told.blows.total(),
            outcome.told.missed.total(),
            outcome.jobs,
            outcome.rows,
            outcome.writings,
            outcome.count("lost", "stale"),
            outcome.count("doubled"),
            outcome.count("wrong bytes"),
            outcome.count("innocent"),
            f"{outcome.stall:.0f}",
            f"{outcome.excused:.0f}",
            f"{outcome.calm:.0f}",
            f"{outcome.told.peak_mb:.0f}",
            len(outcome.breaches),
        ]
        print("  ".join(f"{cell:>{max(7, len(head))}}" for head, cell in zip(heads, cells, strict=True)))
        for breach in outcome.breaches[:LISTED_FINDINGS]:
            print(f"    {breach}")
        if outcome.logs:
            print(f"    all of it, logs and journal: {outcome.logs}")
            print(f"    again: scripts/chaos --unknown --seconds {outcome.seconds:g} --seeds {outcome.seed}")
    sys.stdout.flush()
