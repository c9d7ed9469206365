"""The sessions that take more objects now, in the order in which they are served.

With a thousand consumers a look at all sessions takes longer than sending an object. So the sums are kept here, and
only a session that has changed is looked at.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from producer.leased import ConsumerSession


class TakingSessions:
    """Sessions with open credit; whoever changes a session's credit, leases or suspect calls `update`."""

    def __init__(self) -> None:
        self._taking: OrderedDict[bytes, ConsumerSession] = OrderedDict()
        self._counted: dict[bytes, tuple[int, bool]] = {}
        self.credit = 0
        """Number of objects that all of them would take."""
        self.free = 0
        """Number of sessions that would take a suspect."""

    def __len__(self) -> int:
        return len(self._taking)

    @property
    def all(self) -> Collection[ConsumerSession]:
        """All of them; read only."""
        return self._taking.values()

    def update(self, session: ConsumerSession) -> None:
        """Look at a session again; one that takes objects again comes last."""
        self._forget(session)
        taken = session.open
        if not taken:
            self._taking.pop(session.identity, None)
            return
        self._taking.setdefault(session.identity, session)
        self._counted[session.identity] = taken, session.suspect is None
        self.credit += taken
        self.free += session.suspect is None

    def remove(self, session: ConsumerSession) -> None:
        """Forget a session that has ended."""
        self._forget(session)
        self._taking.pop(session.identity, None)

    def first(self) -> ConsumerSession:
        """Return the session that is served next."""
        return next(iter(self._taking.values()))

    def served(self, session: ConsumerSession) -> None:
        """Look at a session again that was just served: it is last next time."""
        self.update(session)
        if session.identity in self._taking:
            self._taking.move_to_end(session.identity)

    def _forget(self, session: ConsumerSession) -> None:
        taken, free = self._counted.pop(session.identity, (0, False))
        self.credit -= taken
        self.free -= free
