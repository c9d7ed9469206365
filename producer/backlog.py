"""Objects that wait to be fetched: pending objects by job, in the order in which they are sent.

Pure and synchronous, like `producer.leases`. The backlog also remembers every object of this shard that is in hand
(waiting, being fetched, ready, leased, or about to be judged), because a page of pending rows read from the ledger
contains those too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from producer.leased import StreamedObject

FIRST_REST: Final = 1.0
LONGEST_REST: Final = 8.0


@dataclass(slots=True)
class JobQueue:
    """One running job's objects."""

    priority: int
    again: deque[StreamedObject] = field(default_factory=deque)
    fresh: deque[StreamedObject] = field(default_factory=deque)
    suspects: deque[StreamedObject] = field(default_factory=deque)
    later: list[tuple[float, int, StreamedObject]] = field(default_factory=list)
    held_until: float = float("-inf")
    rest: float = 0.0
    why: str = ""
    """Why the job's objects came back, if its model gives no predictions; they wait longer each time."""
    in_hand: int = 0
    has_turn: bool = False

    def fetchable(self) -> int:
        """Return how many objects may be fetched as soon as somebody asks for them."""
        return len(self.again) + len(self.fresh)

    def waiting(self) -> int:
        """Return how many objects could be fetched, now or later."""
        return self.fetchable() + len(self.suspects) + len(self.later)

    def take(self, now: float, *, suspects: bool) -> StreamedObject | None:
        """Remove and return the object to fetch next, if any may be fetched now."""
        if now < self.held_until:
            return None
        while self.later and self.later[0][0] <= now:
            due = heappop(self.later)[2]
            (self.suspects if due.alone else self.again).append(due)
        if suspects and self.suspects:
            return self.suspects.popleft()
        if self.again:
            return self.again.popleft()
        return self.fresh.popleft() if self.fresh else None

    def empty(self) -> list[StreamedObject]:
        """Remove and return all waiting objects."""
        waiting = [*self.again, *self.fresh, *self.suspects, *(entry[2] for entry in self.later)]
        for part in (self.again, self.fresh, self.suspects, self.later):
            part.clear()
        return waiting


class Backlog:
    """The queues of all running jobs: strict priority, equal priorities in turn.

    Only jobs of which something waits have a turn: thousands of watch jobs that wait for pictures cost nothing.
    """

    def __init__(self) -> None:
        self._queues: dict[int, JobQueue] = {}
        self._turns: dict[int, deque[int]] = {}
        self._waiting = 0
        self._in_hand: dict[int, int] = {}
        self._reading = False
        self._finished: set[int] = set()

    def __contains__(self, object_id: int) -> bool:
        return object_id in self._in_hand

    def __len__(self) -> int:
        """Return the number of objects in hand."""
        return len(self._in_hand)

    def set_jobs(self, priorities: dict[int, int]) -> list[int]:
        """Set the running jobs; drop the waiting objects of all others and return these jobs."""
        gone = [job for job in self._queues if job not in priorities]
        for job in gone:
            self.forget(job)
            del self._queues[job]
        for job, priority in priorities.items():
            if job in self._queues:
                self._set_priority(job, priority)
            else:
                held = sum(1 for owner in self._in_hand.values() if owner == job)
                self._queues[job] = JobQueue(priority, in_hand=held)
        return gone

    def waiting(self, job: int) -> int:
        """Return how many of a job's objects wait to be fetched."""
        return self._queues[job].waiting() if job in self._queues else 0

    def all_waiting(self) -> int:
        """Return how many objects of all jobs wait to be fetched."""
        return self._waiting

    def fetchable(self, job: int) -> int:
        """Return how many of a job's objects may be fetched as soon as somebody asks for them."""
        return self._queues[job].fetchable() if job in self._queues else 0

    def in_hand(self, job: int) -> int:
        """Return how many of a job's objects are in hand, whatever their state."""
        return self._queues[job].in_hand if job in self._queues else 0

    def begin_read(self) -> None:
        """Prepare for reading pending rows.

        Objects that finish before `add` may still be in the page, and must not be added again.
        """
        self._reading = True
        self._finished.clear()

    def add(self, found: Iterable[StreamedObject]) -> int:
        """Add objects of a page of pending rows that aren't in hand; return their number."""
        added = 0
        for one in found:
            queue = self._queues.get(one.job)
            if queue is None or one.id in self._in_hand or one.id in self._finished:
                continue
            self._in_hand[one.id] = one.job
            queue.in_hand += 1
            (queue.suspects if one.alone else queue.fresh).append(one)
            self._count(one.job, queue)
            added += 1
        self._reading = False
        self._finished.clear()
        return added

    def requeue(self, found: StreamedObject, now: float, delay: float = 0.0) -> None:
        """Put an object back, first in line, or after a delay. If its job doesn't run any more, drop it."""
        queue = self._queues.get(found.job)
        if queue is None:
            self.finish(found)
            return
        if delay > 0:
            heappush(queue.later, (now + delay, found.id, found))
        else:
            (queue.suspects if found.alone else queue.again).append(found)
        self._count(found.job, queue)

    def finish(self, found: StreamedObject) -> None:
        """Forget an object: it was committed, quarantined or superseded, or its job doesn't run."""
        if self._in_hand.pop(found.id, None) is not None and found.job in self._queues:
            self._queues[found.job].in_hand -= 1
        if self._reading:
            self._finished.add(found.id)

    def forget(self, job: int) -> None:
        """Drop a job's waiting objects, which are still pending in the ledger."""
        queue = self._queues[job]
        dropped = queue.empty()
        self._waiting -= len(dropped)
        self._leave(job, queue)
        for waiting in dropped:
            if self._in_hand.pop(waiting.id, None) is not None:
                queue.in_hand -= 1

    def hold(self, job: int, until: float) -> None:
        """Fetch nothing of a job until then, because its source doesn't answer."""
        if job in self._queues:
            self._queues[job].held_until = until

    def rest(self, job: int, now: float, why: str) -> float:
        """Delay a job whose model gives no predictions, longer each time, so that it leaves space for other jobs."""
        queue = self._queues.get(job)
        if queue is None:
            return 0.0
        queue.why = why
        queue.rest = min(queue.rest * 2 or FIRST_REST, LONGEST_REST)
        queue.held_until = max(queue.held_until, now + queue.rest)
        return queue.rest

    def why_resting(self, job: int) -> str:
        """Return what is wrong with a job's model; empty once it predicts."""
        return self._queues[job].why if job in self._queues else ""

    def predicts(self, job: int) -> None:
        """Record that a job's model gives predictions."""
        if job in self._queues:
            self._queues[job].rest, self._queues[job].why = 0.0, ""

    def is_held(self, job: int, now: float) -> bool:
        """Return whether nothing of a job is fetched now."""
        return job in self._queues and now < self._queues[job].held_until

    def take(self, now: float, *, suspects: bool) -> StreamedObject | None:
        """Return the object to fetch next, if any may be fetched now."""
        for priority in sorted(self._turns, reverse=True):
            turns = self._turns[priority]
            for _ in range(len(turns)):
                job = turns[0]
                turns.rotate(-1)
                queue = self._queues[job]
                found = queue.take(now, suspects=suspects)
                if found is not None:
                    self._waiting -= 1
                    if not queue.waiting():
                        self._leave(job, queue)
                    return found
        return None

    def _count(self, job: int, queue: JobQueue) -> None:
        """Record that one more object of a job waits."""
        self._waiting += 1
        if not queue.has_turn:
            self._enter(job, queue)

    def _enter(self, job: int, queue: JobQueue) -> None:
        queue.has_turn = True
        self._turns.setdefault(queue.priority, deque()).append(job)

    def _leave(self, job: int, queue: JobQueue) -> None:
        """Give a job no turn until something of it waits again."""
        if not queue.has_turn:
            return
        queue.has_turn = False
        turns = self._turns[queue.priority]
        if turns[-1] == job:
            turns.pop()
        else:
            turns.remove(job)
        if not turns:
            del self._turns[queue.priority]

    def _set_priority(self, job: int, priority: int) -> None:
        queue = self._queues[job]
        if queue.priority != priority:
            had_turn = queue.has_turn
            self._leave(job, queue)
            queue.priority = priority
            if had_turn:
                self._enter(job, queue)
