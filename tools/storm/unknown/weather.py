"""One unknown storm: injects the faults of its seed, keeps everything running, and has the end checked."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tools.stack import DatabaseServer, S3Server, Stack, StackError, TorchServe, Worker
from tools.storm.storm import resident
from tools.storm.unknown.ailments import Ailments
from tools.storm.unknown.arrivals import Arrivals
from tools.storm.unknown.clock import PLACES, Clock
from tools.storm.unknown.draw import Blow
from tools.storm.unknown.hands import Hands
from tools.storm.unknown.links import Links

Victim = Worker | TorchServe | S3Server | DatabaseServer

TICK_SECONDS: Final = 0.05
DRAIN_SECONDS: Final = 45.0
MB: Final = 1_000_000
RESTART_SECONDS: Final = 120.0


@dataclass
class Told:
    """What the storm itself saw: faults by kind, faults without a target, and errors."""

    blows: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    peak_mb: float = 0.0
    breaches: list[str] = field(default_factory=list)


@dataclass
class Leaving:
    """A worker that was told to stop; `since` waits while it is frozen."""

    since: float
    down: float


class Weather:
    """The faults of one storm, and the supervisor that restarts what has ended."""

    def __init__(self, stack: Stack, links: Links, clock: Clock, arrivals: Arrivals, ailments: Ailments) -> None:
        self.told = Told()
        self.hands = Hands(stack.servers.database, stack.database, arrivals, ailments)
        self._stack = stack
        self._links = links
        self._clock = clock
        self._ailments = ailments
        victims: list[Victim] = [*stack.workers, *stack.servers.all]
        self._servers = {each.name: each for each in victims}
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._frozen: Counter[str] = Counter()
        self._down: dict[str, float] = {}
        self._leaving: dict[str, Leaving] = {}
        self._starting: list[threading.Thread] = []
        self._looked = 0.0

    def rage(self, blows: list[Blow], seconds: float, say: Callable[[str], None]) -> None:
        """Inject faults for `seconds`, and leave everything repaired and running."""
        begun = time.monotonic()
        left = deque(blows)
        while (passed := time.monotonic() - begun) < seconds:
            while left and left[0].at <= passed:
                blow = left.popleft()
                say(str(blow))
                self._strike(blow)
            self.tick()
        self._mend()

    def tick(self) -> None:
        """Undo faults that are over, restart what has ended, record the workers' memory; then wait a moment."""
        now = time.monotonic()
        while self._undo and self._undo[0][0] <= now:
            heapq.heappop(self._undo)[2]()
        self._supervise(now)
        if now - self._looked > 1.0:
            self._looked = now
            sizes = [resident(worker.pid) / MB for worker in self._stack.workers if worker.pid]
            self.told.peak_mb = max(self.told.peak_mb, *sizes, 0.0)
        time.sleep(TICK_SECONDS)

    def stop_workers(self) -> None:
        """Stop the workers cleanly."""
        for worker in self._stack.workers:
            worker.terminate()
        for worker in self._stack.workers:
            try:
                code = worker.wait(DRAIN_SECONDS)
            except StackError as error:
                self.told.breaches.append(str(error))
                continue
            if code != 0:
                self.told.breaches.append(f"{worker.name} was stopped and exited with {code}")

    def _mend(self) -> None:
        """End all faults, and restart everything."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        self._links.heal()
        for name in self._down:
            self._down[name] = 0.0
        while self._down or self._leaving or any(thread.is_alive() for thread in self._starting):
            self.tick()
        self.hands.rest()

    def _strike(self, blow: Blow) -> None:
        self.told.blows[blow.kind] += 1
        if self.hands.can(blow):
            self.hands.do(blow)
        elif blow.kind == "clock":
            self._step(blow)
        elif blow.victim in self._servers:
            self._hit(blow, self._servers[blow.victim])
        else:
            self._break(blow)

    def _hit(self, blow: Blow, server: Victim) -> None:
        """Freeze, kill or drain a process."""
        # A worker that is just starting can't drain yet.
        leaves = blow.kind != "drain" or (isinstance(server, Worker) and bool(server.metrics()))
        if server.pid is None or blow.victim in self._leaving or not leaves:
            self.told.missed[blow.kind] += 1
        elif blow.kind == "freeze":
            self._frozen[blow.victim] += 1
            self._ailments.begin(blow.victim)
            server.freeze()
            self._later(blow.lasts, lambda: self._thaw(blow.victim, server))
        elif blow.kind == "kill":
            self._ailments.begin(blow.victim)
            server.kill()
            self._down[blow.victim] = time.monotonic() + blow.lasts
        else:
            self._ailments.begin(blow.victim)
            server.terminate()
            self._leaving[blow.victim] = Leaving(time.monotonic(), blow.lasts)

    def _thaw(self, name: str, server: Victim) -> None:
        self._frozen[name] -= 1
        self._ailments.end(name)
        if not self._frozen[name]:
            server.thaw()

    def _step(self, blow: Blow) -> None:
        if not PLACES:
            self.told.missed[blow.kind] += 1
            return
        self._clock.step(blow.strength)
        self._later(blow.lasts, self._clock.set_right)

    def _break(self, blow: Blow) -> None:
        """Break a link as the fault says."""
        for proxy in self._links.find(blow.victim):
            if blow.kind == "cut":
                proxy.cut()
            elif blow.kind == "half-close":
                proxy.half_close()
            elif blow.kind == "vanish":
                proxy.vanish()
            elif blow.kind == "delay":
                proxy.slow(0.01 + 0.2 * blow.strength)
            elif blow.kind == "loss":
                proxy.slow(0.0, 0.01 + 0.2 * blow.strength)
            else:
                proxy.hang()
        if blow.kind.startswith("hang"):
            self._ailments.begin(blow.victim)
        if blow.lasts:
            self._later(blow.lasts, lambda: self._heal(blow))

    def _heal(self, blow: Blow) -> None:
        for proxy in self._links.find(blow.victim):
            if blow.kind == "hang-cut":
                proxy.cut()
            proxy.heal()
        if blow.kind.startswith("hang"):
            self._ailments.end(blow.victim)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._undo, (time.monotonic() + seconds, next(self._order), act))

    def _supervise(self, now: float) -> None:
        """Restart what was killed, has stopped or crashed."""
        for name, leaving in list(self._leaving.items()):
            server = self._servers[name]
            if server.exit_code is None:
                if self._frozen[name]:
                    leaving.since = now
                elif now - leaving.since > DRAIN_SECONDS:
                    self.told.breaches.append(f"{name} still drains after {DRAIN_SECONDS:g} s")
                    server.kill()
                continue
            if server.exit_code != 0 and now - leaving.since <= DRAIN_SECONDS:
                self.told.breaches.append(f"{name} drained and exited with {server.exit_code}")
            del self._leaving[name]
            self._down[name] = now + leaving.down
        for name, server in self._servers.items():
            if server.pid is None and name not in self._down and name not in self._leaving:
                self.told.breaches.append(f"{name} ended by itself with {server.exit_code}:\n{server.log_tail(8)}")
                self._ailments.begin(name)
                self._down[name] = now
        for name in [name for name, due in self._down.items() if due <= now]:
            del self._down[name]
            self._start(name)

    def _start(self, name: str) -> None:
        """Start it; until it answers, that counts as a fault."""
        server = self._servers[name]
        server.start()
        thread = threading.Thread(target=self._await, args=(name, server), name=f"start of {name}", daemon=True)
        self._starting.append(thread)
        thread.start()

    def _await(self, name: str, server: Victim) -> None:
        try:
            if isinstance(server, Worker):
                server.wait_until(lambda: bool(server.metrics()), RESTART_SECONDS)
            else:
                server.wait_ready()
        except StackError:
            pass  # killed again: that fault has its own end
        finally:
            self._ailments.end(name)
