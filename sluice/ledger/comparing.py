"""Makes a comparison of two jobs with several connections at once, and waits until it is complete."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sluice.errors import LedgerError
from sluice.ledger import comparisons
from sluice.ledger.comparisons import Comparison
from sluice.ledger.connection import Database
from sluice.settings import Settings

AT_ONCE: Final = 4
WAIT_SECONDS: Final = 0.1


def compare(settings: Settings, before: int, after: int) -> Comparison:
    """Return the complete comparison of two jobs; what another process makes at the same time is shared."""
    with Database(settings) as database:
        comparison_id = database.run(comparisons.begin, before, after)
        while True:
            found = database.run(comparisons.find, comparison_id)
            if found is None:
                raise LedgerError(f"jobs {before} and {after} were compared anew meanwhile: run the command again")
            if found.complete:
                return found
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(_work, [settings] * AT_ONCE, [comparison_id] * AT_ONCE))
            time.sleep(WAIT_SECONDS)


def _work(settings: Settings, comparison_id: int) -> None:
    with Database(settings) as database:
        while database.run(comparisons.advance, comparison_id):
            pass
