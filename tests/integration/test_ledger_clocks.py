"""What the ledger makes of clocks that are set back."""

from __future__ import annotations

from sluice.ledger import Database, sessions
from sluice.ledger.sessions import Attempts
from tests.support.ledger_rows import ask

ADDRESS = Attempts(b"\1" * 32, 2, 60)


def test_nobody_is_kept_out_because_the_clock_was_set_back(ledger: Database) -> None:
    """Everybody at an address where anybody mistyped a password would wait for the clock."""
    assert ledger.run(sessions.attempt, [ADDRESS]) == 0
    ask(ledger, "UPDATE failed_logins SET until = until + INTERVAL 1 HOUR")
    assert [ledger.run(sessions.attempt, [ADDRESS]) for _ in range(2)] == [0, 0]
    assert ledger.run(sessions.attempt, [ADDRESS]) > 0, "they are counted as ever"
