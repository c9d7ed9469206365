"""Does what always holds, hold? Each rule is one query for the rows that break it.

These queries read whole tables: they are for `sluice check` and for tests, never for a running process. I3 needs the
bytes and I4 and I7 need live processes; `sluice check` asks those itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sluice.ledger.connection import Cursor
from sluice.ledger.objects import DEATHS
from sluice.reasons import REASONS

SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Breach:
    """One invariant that does not hold, with the first rows that break it and how many there are."""

    invariant: str
    sentence: str
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A query whose rows (`id`) break the invariant."""

    invariant: str
    sentence: str
    query: str
    values: tuple[object, ...] = ()


RULES: Final = (
    Rule(
        "I1",
        "jobs whose counters differ from their objects",
        """SELECT j.id FROM jobs j
           LEFT JOIN (SELECT job_id, SUM(listed) AS listed, SUM(done) AS done, SUM(quarantined) AS quarantined,
                             SUM(superseded) AS superseded FROM counters GROUP BY job_id) c ON c.job_id = j.id
           LEFT JOIN (SELECT job_id, COUNT(*) AS listed, SUM(state = 'done') AS done,
                             SUM(state = 'quarantined') AS quarantined, SUM(state = 'superseded') AS superseded
                      FROM objects GROUP BY job_id) o ON o.job_id = j.id
           WHERE COALESCE(c.listed, 0) <> COALESCE(o.listed, 0) OR COALESCE(c.done, 0) <> COALESCE(o.done, 0)
              OR COALESCE(c.quarantined, 0) <> COALESCE(o.quarantined, 0)
              OR COALESCE(c.superseded, 0) <> COALESCE(o.superseded, 0)""",
    ),
    Rule(
        "I1",
        "jobs that are done with pending objects",
        """SELECT j.id FROM jobs j WHERE j.state = 'done'
           AND EXISTS (SELECT 1 FROM objects o WHERE o.job_id = j.id AND o.state = 'pending')""",
    ),
    Rule(
        "I2",
        "predictions made with another model than their job's",
        """SELECT p.object_id AS id FROM predictions p JOIN objects o ON o.id = p.object_id
           JOIN jobs j ON j.id = o.job_id WHERE j.model_id IS NULL OR p.model_id <> j.model_id OR p.job_id <> j.id""",
    ),
    Rule(
        "I2",
        "keys with more than one row that is not superseded",
        """SELECT MAX(id) AS id FROM objects WHERE state <> 'superseded'
           GROUP BY job_id, object_key, repeat_no HAVING COUNT(*) > 1""",
    ),
    Rule(
        "I3",
        "superseded objects whose key has no newer version",
        """SELECT o.id FROM objects o WHERE o.state = 'superseded' AND NOT EXISTS (
               SELECT 1 FROM objects n WHERE n.job_id = o.job_id AND n.object_key = o.object_key
               AND n.repeat_no = o.repeat_no AND n.generation > o.generation)""",
    ),
    Rule(
        "I5",
        "quarantined objects without a reason of their own",
        "SELECT id FROM objects WHERE state = 'quarantined' AND (reason IS NULL OR reason NOT IN %s)",
        (sorted(REASONS),),
    ),
    Rule(
        "I5",
        f"objects quarantined as killed_consumers before {DEATHS} consumers died",
        "SELECT id FROM objects WHERE state = 'quarantined' AND reason = 'killed_consumers' AND attempts < %s",
        (DEATHS,),
    ),
    Rule(
        "I6",
        "done objects without a prediction",
        """SELECT o.id FROM objects o LEFT JOIN predictions p ON p.object_id = o.id
           WHERE o.state = 'done' AND p.object_id IS NULL""",
    ),
    Rule(
        "I6",
        "predictions whose object is not done",
        """SELECT p.object_id AS id FROM predictions p LEFT JOIN objects o ON o.id = p.object_id
           WHERE o.id IS NULL OR o.state <> 'done'""",
    ),
)


def check(cursor: Cursor) -> list[Breach]:
    """Give the invariants that don't hold in this database."""
    # One snapshot for all rules: between two queries a running consumer would change what they compare.
    cursor.execute("COMMIT")
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    breaches = []
    for rule in RULES:
        cursor.execute(rule.query, rule.values)
        ids = [row["id"] for row in cursor.fetchall()]
        if ids:
            breaches.append(Breach(rule.invariant, rule.sentence, tuple(sorted(ids)[:SHOWN]), len(ids)))
    return breaches
