"""The connection to one producer address, kept as long as the consumer runs: sessions, one after the other."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from consumer.session import ProducerSession, SessionId
from sluice.backoff import Backoff
from sluice.errors import ConfigurationError
from sluice.telemetry import get_logger

log = get_logger()

PARTING_SECONDS: Final = 1.5
"""How long a leaving consumer repeats an unanswered BYE in a new session."""
PAUSE_SECONDS: Final = (0.1, 2.0)


class ProducerLink:
    """Sessions with one producer address, one after the other, for as long as the consumer runs."""

    def __init__(
        self, open_session: Callable[[SessionId], ProducerSession], on_lost: Callable[[ProducerSession], None]
    ) -> None:
        self._open_session = open_session
        self._on_lost = on_lost
        self._leaving = asyncio.Event()
        self._leave_by = math.inf
        self._owes_bye = False
        """Whether the producer may know a session of this line."""
        self._place = SessionId(os.urandom(16), 0)
        self.session: ProducerSession | None = None

    @property
    def is_up(self) -> bool:
        """Return whether the producer answered in this session."""
        return self.session is not None and self.session.was_heard and not self.session.is_lost

    async def run(self) -> None:
        """Open a session whenever there is none."""
        pauses = Backoff(*PAUSE_SECONDS)
        while not self._leaving.is_set() or (self._owes_bye and time.monotonic() < self._leave_by):
            self._place = SessionId(self._place.line, self._place.number + 1)
            try:
                session = self.session = self._open_session(self._place)
            except ConfigurationError as error:
                # They were valid when the process started: for example, a key file is being replaced.
                log.warning("no session can be opened", why=str(error))
                await self._wait(PAUSE_SECONDS[1])
                continue
            why = await session.run(to_leave=self._leaving.is_set())
            self._owes_bye = not session.has_parted and (self._owes_bye or session.was_connected)
            self._on_lost(session)
            log.info("session is over", producer=session.address, why=why, was_heard=session.was_heard)
            if session.was_heard:
                pauses.reset()
            await self._wait(pauses.next())

    def leave(self) -> None:
        """Send BYE, and open no other session except to repeat it."""
        self._leaving.set()
        self._leave_by = time.monotonic() + PARTING_SECONDS
        if self.session is not None:
            self.session.leave()

    async def _wait(self, seconds: float) -> None:
        """Wait before the next session; while leaving, don't wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
