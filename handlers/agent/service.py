"""The life of an agent: reads what is wanted, makes TorchServe agree, and tells how far it is.

    models (rows) ──▶ follow ──▶ tend ──▶ management port, TorchServe's folder
    servings (rows) ◀── follow ◀── states

`follow` exchanges rows each second and waits for nothing else; `tend` compares TorchServe with them,
and one version after the other is loaded, the most urgent first, so that the memory that was looked at is still free.
"""

from __future__ import annotations

import asyncio
import signal
import time
from functools import partial
from typing import Final

from handlers.agent.loading import Loader, file_of, is_own
from handlers.agent.management import LoadedVersion, Management
from sluice.backoff import Backoff
from sluice.errors import ConfigurationError, EndpointDown, LedgerError, LoadFailed
from sluice.ledger import AsyncLedger, Database, LedgerCursor, serving
from sluice.ledger.serving import ServingState, WantedVersion
from sluice.settings import Settings
from sluice.store.shelf import ModelStore
from sluice.telemetry import Health, LedgerTelemetry, get_logger, metrics, serve

log = get_logger()

FOLLOW_SECONDS: Final = 1.0
TEND_SECONDS: Final = 2.0
FIRST_RETRY: Final = 2.0
LONGEST_RETRY: Final = 120.0
TRIES: Final = 3
"""Loads that TorchServe refuses before the archive is at fault."""
UNREADY_SECONDS: Final = 330.0
"""A little longer than TorchServe itself starts workers again (maxRetryTimeoutInSec); then it leaves them dead."""
LAST_WORD_SECONDS: Final = 5.0
"""For the ledger's answer once told to stop; then others wait until this server's row is old."""
SERVED: Final = "served"
LOADING: Final = "loading"
FAILED: Final = "failed"
STATES: Final = (SERVED, LOADING, FAILED)


class LoadAttempts:
    """The tries to load one archive."""

    def __init__(self, sha256: str) -> None:
        self.sha256 = sha256
        self.count = 0
        self.not_before = 0.0
        self._waits = Backoff(FIRST_RETRY, LONGEST_RETRY)

    def failed(self, now: float) -> None:
        """Wait a little longer until the next."""
        self.count += 1
        self.not_before = now + self._waits.next()


class AgentService:
    """One agent."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        ledger: AsyncLedger,
        management: Management,
        loader: Loader,
        *,
        last_word_seconds: float = LAST_WORD_SECONDS,
    ) -> None:
        self._name = settings.name
        self._health = health
        self._ledger = ledger
        self._management = management
        self._loader = loader
        self._last_word_seconds = last_word_seconds
        self._wanted: list[WantedVersion] | None = None
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._states: dict[int, ServingState] = {}
        self._attempts: dict[int, LoadAttempts] = {}
        self._unready: dict[int, float] = {}
        """Since when no worker of a version answers."""
        self._cramped: set[int] = set()
        """Versions that there was no memory for."""
        self._checked: set[tuple[int, str]] = set()
        self._must: set[int] | None = None
        self._message = "TorchServe was not asked yet"
        self._ledger_why = ""
        health.set("models", ok=False, why="the ledger was not read yet")

    def stop(self) -> None:
        """End: the server is no longer waited for."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until told to stop."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in (self._beat(), self._follow(), self._tend())]
            await self._stopping.wait()
            for task in tasks:
                task.cancel()
        try:
            async with asyncio.timeout(self._last_word_seconds):
                await self._ledger.call(lambda database: database.try_once(serving.leave, self._name))
        except (LedgerError, ConfigurationError, TimeoutError) as error:
            why = str(error) or "the ledger doesn't answer"
            log.warning("others wait for this server until its row is old", why=why)

    async def _beat(self) -> None:
        """Show that the event loop runs, also while the ledger and TorchServe let it wait."""
        while True:
            self._health.tick()
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _follow(self) -> None:
        """Exchange rows each second."""
        while True:
            try:
                wanted = await self._ledger.run(self._exchange, dict(self._states), self._message)
            except (LedgerError, ConfigurationError) as error:
                if str(error) != self._ledger_why:
                    self._ledger_why = str(error)
                    log.warning("the ledger can't be used; TorchServe serves what it has", why=self._ledger_why)
                    if self._wanted is None:
                        self._health.set("models", ok=False, why=self._ledger_why)
            else:
                self._ledger_why = ""
                if wanted != self._wanted:
                    self._take(wanted)
            await asyncio.sleep(FOLLOW_SECONDS)

    def _exchange(self, cursor: LedgerCursor, states: dict[int, ServingState], message: str) -> list[WantedVersion]:
        serving.tell(cursor, self._name, message, states)
        return serving.wanted(cursor)

    def _take(self, wanted: list[WantedVersion]) -> None:
        """Note what is wanted now; what was published again is tried again at once."""
        had_failed = {each.id for each in self._wanted or [] if each.failed}
        for each in wanted:
            known = self._attempts.get(each.id)
            if known and (known.sha256 != each.sha256 or (each.id in had_failed and not each.failed)):
                del self._attempts[each.id]
        self._wanted = wanted
        self._news.set()

    async def _tend(self) -> None:
        """Make TorchServe agree with the rows, again and again."""
        while True:
            self._news.clear()
            if self._wanted is not None:
                try:
                    await self._agree(self._wanted)
                except EndpointDown as error:
                    self._lost(str(error))
                except OSError as error:
                    self._message = f"SLUICE_AGENT_FOLDER can't be used ({error}): is it TorchServe's, and not full?"
                self._tell_health()
            try:
                async with asyncio.timeout(TEND_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _agree(self, wanted: list[WantedVersion]) -> None:
        """Unload what nobody wants, then load what is missing."""
        loaded = await asyncio.to_thread(self._management.versions)
        self._message = ""
        published = [each for each in wanted if each.sha256]
        self._states = {each.id: self._states.get(each.id, ServingState(LOADING)) for each in published}
        if self._must is None:
            self._must = {each.id for each in published}
        await self._choose_defaults(wanted, loaded)
        await self._unload({(each.name, each.version) for each in published}, loaded)
        await asyncio.to_thread(self._loader.forget_files, {file_of(each) for each in published if not each.failed})
        for each in published:
            self._tell_health()
            has = loaded.get((each.name, each.version))
            self._states[each.id] = await (self._load(each) if has is None else self._look_at(each, has))
            if self._news.is_set():
                return

    async def _choose_defaults(self, wanted: list[WantedVersion], loaded: dict[tuple[str, str], LoadedVersion]) -> None:
        """Have the live version answer those who name none."""
        for each in wanted:
            has = loaded.get((each.name, each.version))
            if each.is_live and has is not None and has.is_ready and not has.is_default:
                why = await asyncio.to_thread(self._management.set_default, each.name, each.version)
                log.info("the live version is TorchServe's default", model=f"{each.name}@{each.version}", why=why)

    async def _unload(self, keep: set[tuple[str, str]], loaded: dict[tuple[str, str], LoadedVersion]) -> None:
        """Remove versions that an agent loaded and nobody wants."""
        for (name, version), has in loaded.items():
            if (name, version) in keep or not is_own(has.file):
                continue
            others = [other for other in loaded if other[0] == name and other != (name, version)]
            if has.is_default and others:
                kept = next((other for other in others if other in keep), others[0])
                await asyncio.to_thread(self._management.set_default, *kept)
            why = await asyncio.to_thread(self._management.unregister, name, version)
            log.info("a version is unloaded", model=f"{name}@{version}", why=why)

    async def _look_at(self, version: WantedVersion, has: LoadedVersion) -> ServingState:
        """Return how a version does that TorchServe has."""
        if not has.is_ready:
            since = self._unready.setdefault(version.id, time.monotonic())
            if is_own(has.file) and (not has.workers or time.monotonic() - since > UNREADY_SECONDS):
                log.warning("a version without workers is loaded anew", model=f"{version.name}@{version.version}")
                await asyncio.to_thread(self._management.unregister, version.name, version.version)
                self._unready.pop(version.id)
            return ServingState(LOADING, "its workers are starting, or start again and again")
        self._unready.pop(version.id, None)
        workers = await asyncio.to_thread(self._loader.workers, version, has.workers)
        if is_own(has.file) and has.workers != workers:
            why = await asyncio.to_thread(self._management.scale, version.name, version.version, workers)
            what = f"{version.name}@{version.version}"
            log.info("a version has more or fewer workers", model=what, workers=workers, before=has.workers, why=why)
        if (version.id, version.sha256) not in self._checked:
            try:
                await asyncio.to_thread(self._loader.check, version)
            except LoadFailed as error:
                return ServingState(FAILED, str(error))
            self._checked.add((version.id, version.sha256))
        self._attempts.pop(version.id, None)
        return ServingState(SERVED)

    async def _load(self, version: WantedVersion) -> ServingState:
        """Load a version, unless that was tried just now, or others found that it can't be."""
        if version.failed and not version.is_live:
            return ServingState(FAILED, version.failed)
        tried = self._attempts.setdefault(version.id, LoadAttempts(version.sha256))
        if time.monotonic() < tried.not_before:
            return self._states[version.id]
        self._states[version.id] = ServingState(LOADING)
        what = f"{version.name}@{version.version}"
        log.info("a version is loaded", model=what, bytes=version.size)
        try:
            await asyncio.to_thread(self._loader.load, version)
        except LoadFailed as error:
            tried.failed(time.monotonic())
            metrics.LOADS.labels(outcome=error.fault).inc()
            log.warning("a version can't be loaded", model=what, why=str(error), tries=tried.count)
            if error.fault == "memory":
                self._cramped.add(version.id)
            if error.fault == "archive" or (error.fault == "model" and tried.count >= TRIES):
                await self._fail(version, str(error))
                return ServingState(FAILED, str(error))
            return ServingState(LOADING, str(error))
        log.info("a version is served", model=what)
        metrics.LOADS.labels(outcome=SERVED).inc()
        self._checked.add((version.id, version.sha256))
        self._attempts.pop(version.id, None)
        self._cramped.discard(version.id)
        return ServingState(SERVED)

    async def _fail(self, version: WantedVersion, cause: str) -> None:
        try:
            await self._ledger.run(serving.fail, version, cause)
        except (LedgerError, ConfigurationError) as error:
            log.warning("a cause can't be written; it is tried again", why=str(error))

    def _lost(self, why: str) -> None:
        """Note that TorchServe doesn't answer: it may have lost all that it had."""
        if why != self._message:
            log.warning("TorchServe can't be asked", why=why)
        self._message = why
        self._states = {number: ServingState(LOADING, why) for number in self._states}

    def _tell_health(self) -> None:
        """Ready is who has all that was wanted when it started, and all that it had since."""
        assert self._wanted is not None  # noqa: S101 - the caller looked
        for state in STATES:
            metrics.WANTED_VERSIONS.labels(state=state).set(sum(each.state == state for each in self._states.values()))
        if self._must is None:
            self._health.set("models", ok=False, why=self._message)
            return
        served = {number for number, each in self._states.items() if each.state == SERVED}
        needed = {each.id for each in self._wanted if each.sha256 and not self._is_given_up(each)}
        self._must = (self._must | served) & needed
        missing = [each for each in self._wanted if each.id in self._must - served]
        whys = [
            f"{each.name}@{each.version}: {self._states.get(each.id, ServingState(LOADING)).message or LOADING}"
            for each in missing
        ]
        ok = not missing and not self._message
        self._health.set("models", ok=ok, why=self._message or "; ".join(whys))

    def _is_given_up(self, version: WantedVersion) -> bool:
        """Return whether nobody waits for a version here: it can't be loaded, or there is no room for it."""
        if version.is_live or version.is_used:
            return False
        state = self._states.get(version.id)
        return bool(version.failed) or (state is not None and (state.state == FAILED or version.id in self._cramped))


async def serve_until_stopped(settings: Settings) -> None:
    """Run an agent until SIGTERM or SIGINT."""
    health = Health()
    management = Management(settings.agent_management)
    loader = Loader(settings, management, ModelStore(settings))
    ledger = AsyncLedger(Database(settings, LedgerTelemetry()))
    service = AgentService(settings, health, ledger, management, loader)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(service.stop))
    server = serve(settings, health)
    log.info("agent starting", name=settings.name, settings=settings.shown())
    try:
        await service.run()
    finally:
        ledger.close()
        if server is not None:
            server.close()
    log.info("agent stopped")
