"""What the ledger makes of clocks that are set back, and of years that are far ahead."""

from __future__ import annotations

from datetime import datetime

from sluice.ledger import Database, LedgerCursor, sessions, tokens
from sluice.ledger.sessions import Attempts
from tests.support.ledger_rows import ask

ADDRESS = Attempts(b"\1" * 32, 2, 60)


def test_nobody_is_kept_out_because_the_clock_was_set_back(ledger: Database) -> None:
    """Everybody at an address where anybody mistyped a password would wait for the clock."""
    assert ledger.run(sessions.attempt, [ADDRESS]) == 0
    ask(ledger, "UPDATE failed_logins SET until = until + INTERVAL 1 HOUR")
    assert [ledger.run(sessions.attempt, [ADDRESS]) for _ in range(2)] == [0, 0]
    assert ledger.run(sessions.attempt, [ADDRESS]) > 0, "they are counted as ever"


def test_a_token_of_ten_years_is_made_in_any_year(ledger: Database) -> None:
    """The column ends in January 2038."""

    def make(cursor: LedgerCursor) -> int | None:
        cursor.execute("SET SESSION timestamp = UNIX_TIMESTAMP('2029-06-01')")
        try:
            return tokens.make(cursor, 1, "nightly", b"\2" * 32, 3650)
        finally:
            cursor.execute("SET SESSION timestamp = DEFAULT")

    assert ledger.run(make)
    (row,) = ask(ledger, "SELECT expires FROM tokens")
    assert row["expires"] > datetime(2038, 1, 1)  # noqa: DTZ001 - as the ledger's rows are
