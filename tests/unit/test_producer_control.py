"""What the control loop reports of the jobs that it polls."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import REGISTRY

from producer.backlog import Backlog
from producer.control import RATE_SECONDS, JobControl
from producer.dispatcher import Dispatcher
from producer.leases import LeaseTable
from producer.messages import JobMessages
from producer.trials import TrialControl
from sluice import ledger
from sluice.settings import read_settings


class PendingCounts:
    """A ledger in which each job has a number of pending objects."""

    def __init__(self, pending: dict[int, int]) -> None:
        self.pending = pending

    async def run(self, work: object, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the ledger's function is
        if work is ledger.jobs.active:
            return [
                SimpleNamespace(id=job, state="running", model_id=1, priority=0, source="s3://b/", watch=0, message="")
                for job in self.pending
            ]
        if work is ledger.progress.progress:
            return SimpleNamespace(pending=self.pending[arguments[0]], done=0, quarantined=0)
        if work is ledger.trials.active:
            return []
        return None


class EndlessLister:
    """Never ends."""

    def set_priorities(self, _: object) -> None:
        """Do nothing."""

    async def follow(self, _: object) -> None:
        await asyncio.Event().wait()


class CountedLister:
    """Lists in no time."""

    def __init__(self) -> None:
        self.followed = 0

    def set_priorities(self, _: object) -> None:
        """Do nothing."""

    async def follow(self, _: object) -> bool:
        self.followed += 1
        return True


def control_of(jobs: Any, lister: object = None) -> tuple[JobControl, Backlog]:  # noqa: ANN401 - a ledger with some jobs
    """Return the second of two shards, without anything to send to or to read from."""
    settings, unused = read_settings(shard=1, shards=2), cast("Any", None)
    backlog, leases, sources = Backlog(), LeaseTable(1.0), cast("Any", SimpleNamespace(keep=lambda _: None))
    looking = JobControl(
        settings,
        cast("Any", SimpleNamespace(control=jobs, why_waiting=lambda: "")),
        backlog=backlog,
        dispatcher=Dispatcher(
            settings,
            unused,
            backlog=backlog,
            leases=leases,
            sources=sources,
            failures=unused,
            awake=asyncio.Event(),
            send=lambda _: False,
        ),
        leases=leases,
        lister=cast("Any", lister or EndlessLister()),
        sources=sources,
        messages=JobMessages(),
        trials=TrialControl(settings, cast("Any", SimpleNamespace(control=jobs, trials=unused))),
    )
    return looking, backlog


def test_what_jobs_have_pending_is_shown_before_any_consumer_asks_for_it() -> None:
    """Each job is counted by one shard."""
    moments, counts = itertools.count(RATE_SECONDS, RATE_SECONDS), PendingCounts({})
    looking, backlog = control_of(counts)
    seen = []

    async def look() -> None:
        async with asyncio.TaskGroup() as tasks:
            for pending in ({1: 5, 2: 100, 3: 2}, {3: 2}, {}):
                counts.pending = pending
                await looking.look(tasks, lambda: next(moments))
                seen.append((REGISTRY.get_sample_value("sluice_backlog"), len(backlog)))

    asyncio.run(look())
    assert seen == [(7, 0), (2, 0), (0, 0)]


class StartedJobs(PendingCounts):
    """A ledger whose jobs run once they are started."""

    def __init__(self, pending: dict[int, int]) -> None:
        super().__init__(pending)
        self.started: set[int] = set()

    async def run(self, work: object, *arguments: Any) -> Any:  # noqa: ANN401 - as above
        if work is ledger.models.resolve:
            return SimpleNamespace(id=1, name="m", version="1")
        if work is ledger.jobs.start:
            self.started.add(arguments[0])
            return True
        found = await super().run(work, *arguments)
        if work is ledger.jobs.active:
            for job in found:
                job.model = ""
                job.state, job.model_id = ("running", 1) if job.id in self.started else ("pending", None)
        return found


def test_a_job_that_was_started_is_listed_at_once() -> None:
    """The next look has it listed, and isn't waited for."""
    jobs = StartedJobs({1: 1, 2: 1})
    looking, _ = control_of(jobs)

    async def look() -> list[bool]:
        async with asyncio.TaskGroup() as tasks:
            found = [await looking.look(tasks) for _ in range(3)]
            jobs.pending = {}
            return [*found, await looking.look(tasks)]

    assert asyncio.run(look()) == [True, False, False, False]
    assert jobs.started == {1}


class UnfinishedJobs(PendingCounts):
    """A ledger with a job that can't be finished, since it isn't listed to its end."""

    def __init__(self) -> None:
        super().__init__({1: 0})
        self.repeat_no = 0

    async def run(self, work: object, *arguments: Any) -> Any:  # noqa: ANN401 - as above
        if work is ledger.jobs.finish:
            return False
        if work is ledger.listing.state:
            return SimpleNamespace(repeat_no=self.repeat_no)
        found = await super().run(work, *arguments)
        if work is ledger.jobs.active:
            for job in found:
                job.repeats = 1
        return found


def test_a_listed_job_is_listed_again_if_the_ledger_was_set_back() -> None:
    jobs, lister = UnfinishedJobs(), CountedLister()
    looking, _ = control_of(jobs, lister)

    async def look() -> list[int]:
        followed = []
        async with asyncio.TaskGroup() as tasks:
            for jobs.repeat_no in (1, 1, 0, 1, 1):
                await looking.look(tasks)
                await asyncio.sleep(0)
                followed.append(lister.followed)
        return followed

    assert asyncio.run(look()) == [1, 1, 1, 2, 2]
