"""Checks the invariants. Each rule is one query for the rows that break it.

All rows are read, in slices small enough for one answer each: this is for `sluice check` and tests, not for running
processes. I3 needs the bytes, and I4 and I7 need running processes; `sluice check` checks those itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sluice.bounds import DAYS_MAX
from sluice.domain import Reason
from sluice.domain.gates import HASHED
from sluice.ledger.columns import has_table
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.objects import DEATHS

SHOWN: Final = 20
SLICE: Final = 20_000
KEYED: Final = {"objects": "id", "predictions": "object_id"}
OF_TRIALS_KEYED: Final = {"trial_predictions": "object_id"}
"""Tables with rows of objects, and what they are called there."""
DELETED_BY_HAND: Final = (
    "jobs whose row was deleted but not what belongs to it "
    f"(`sluice jobs prune --older-than {DAYS_MAX}` deletes that too)"
)
PREFIX: Final = "TRIM(TRAILING '!/' FROM SUBSTRING(j.source, CHAR_LENGTH(SUBSTRING_INDEX(j.source, '/', 3)) + 2))"
"""What the keys of a job on S3 begin with."""
REPAIRED: Final = "were rows changed in SQL? `sluice jobs repair JOB` puts it right"
COUNTED: Final = ("listed", "done", "quarantined", "superseded")


@dataclass(frozen=True, slots=True)
class InvariantBreach:
    """One broken invariant, with the first rows that break it and their number."""

    invariant: str
    sentence: str
    rows: tuple[int, ...]
    count: int


@dataclass(frozen=True, slots=True)
class InvariantRule:
    """A query for the ids between two ids that break the invariant.

    {deaths} is the name of that column, {no_canary} the condition that no trial's candidate answered.
    """

    invariant: str
    sentence: str
    query: str
    values: tuple[object, ...] = ()


RULES: Final = (
    InvariantRule(
        "I2",
        "predictions made with another model than their job's, by no trial",
        """SELECT p.object_id AS id FROM predictions p JOIN objects o ON o.id = p.object_id
           JOIN jobs j ON j.id = o.job_id WHERE p.object_id BETWEEN %s AND %s
           AND (j.model_id IS NULL OR (p.model_id <> j.model_id{no_canary}) OR p.job_id <> j.id)""",
    ),
    InvariantRule(
        "I2",
        "objects that are not superseded though their key has a newer version",
        """SELECT o.id FROM objects o WHERE o.id BETWEEN %s AND %s AND o.state <> 'superseded' AND EXISTS (
               SELECT 1 FROM objects n FORCE INDEX (one_version) WHERE n.job_id = o.job_id AND n.repeat_no = o.repeat_no
               AND n.object_key = o.object_key AND n.generation > o.generation)""",
    ),
    InvariantRule(
        "I3",
        "superseded objects whose key has no newer version",
        """SELECT o.id FROM objects o WHERE o.id BETWEEN %s AND %s AND o.state = 'superseded' AND NOT EXISTS (
               SELECT 1 FROM objects n FORCE INDEX (one_version) WHERE n.job_id = o.job_id AND n.repeat_no = o.repeat_no
               AND n.object_key = o.object_key AND n.generation > o.generation)""",
    ),
    InvariantRule(
        "I3",
        "objects that aren't below their job's source (it was changed after they were listed: set it back in SQL)",
        f"""SELECT o.id FROM objects o JOIN jobs j ON j.id = o.job_id WHERE o.id BETWEEN %s AND %s
            AND o.state IN ('pending', 'done') AND j.source LIKE 's3://%%'
            AND LEFT(o.object_key, LENGTH({PREFIX})) <> CAST({PREFIX} AS BINARY)""",
    ),
    InvariantRule(
        "I5",
        "quarantined objects without a reason of their own",
        """SELECT id FROM objects WHERE id BETWEEN %s AND %s AND state = 'quarantined'
           AND (reason IS NULL OR reason NOT IN %s)""",
        (sorted(Reason),),
    ),
    InvariantRule(
        "I5",
        f"objects quarantined as {Reason.KILLED_CONSUMERS} before {DEATHS} consumers died",
        """SELECT id FROM objects WHERE id BETWEEN %s AND %s AND state = 'quarantined'
           AND reason = %s AND {deaths} < %s""",
        (Reason.KILLED_CONSUMERS, DEATHS),
    ),
    InvariantRule(
        "I6",
        "done objects without a prediction",
        """SELECT o.id FROM objects o LEFT JOIN predictions p ON p.object_id = o.id
           WHERE o.id BETWEEN %s AND %s AND o.state = 'done' AND p.object_id IS NULL""",
    ),
    InvariantRule(
        "I6",
        "predictions whose object is not done",
        """SELECT p.object_id AS id FROM predictions p LEFT JOIN objects o ON o.id = p.object_id
           WHERE p.object_id BETWEEN %s AND %s AND (o.id IS NULL OR o.state <> 'done')""",
    ),
)
OF_TRIALS: Final = (
    InvariantRule(
        "I2",
        "what candidates said of objects that were not in their trial's share, or by another version",
        f"""SELECT q.object_id AS id FROM trial_predictions q LEFT JOIN trials t ON t.id = q.trial_id
            WHERE q.object_id BETWEEN %s AND %s AND (t.id IS NULL OR q.model_id <> t.model_id
            OR CONV(HEX(RIGHT(q.sha256, {HASHED})), 16, 10) >= t.share * {1 << 8 * HASHED})""",
    ),
    InvariantRule(
        "I2",
        "what candidates said beside or instead of no prediction, or of other bytes",
        """SELECT q.object_id AS id FROM trial_predictions q LEFT JOIN trials t ON t.id = q.trial_id
           LEFT JOIN predictions p ON p.object_id = q.object_id WHERE q.object_id BETWEEN %s AND %s
           AND (p.object_id IS NULL OR p.sha256 <> q.sha256 OR p.job_id <> q.job_id
                OR (q.failure = '' AND NOT t.shadow) <> (p.model_id = q.model_id))""",
    ),
)
"""Where there are trials."""
NO_CANARY: Final = """ AND NOT EXISTS (
               SELECT 1 FROM trial_predictions q JOIN trials t ON t.id = q.trial_id
               WHERE q.object_id = p.object_id AND q.model_id = p.model_id AND t.live_id = j.model_id
               AND q.failure = '' AND NOT t.shadow)"""


def check(cursor: LedgerCursor) -> list[InvariantBreach]:
    """Return the invariants that are broken in this database."""
    # One snapshot for all rules: consumers would change rows between two queries.
    cursor.hold_still()
    tried = has_table(cursor, "trial_predictions")
    rules = (*RULES, *OF_TRIALS) if tried else RULES
    names = {"deaths": cursor.deaths_column, "no_canary": NO_CANARY if tried else ""}
    counted: Counter[tuple[int, str]] = Counter()
    broken: list[list[int]] = [[] for _ in rules]
    counts = [0] * len(rules)
    # All rules for a slice, then the next one: the server reads each page of tables beyond its memory once.
    for ids_between in _slices(cursor, KEYED | OF_TRIALS_KEYED if tried else KEYED):
        counted += _count(cursor, ids_between)
        for place, rule in enumerate(rules):
            ids = _broken(cursor, rule, ids_between, names)
            counts[place] += len(ids)
            broken[place] += ids[: SHOWN - len(broken[place])]
    breaches = [*_unbalanced(cursor, counted), _unfinished(cursor)]
    breaches += [
        InvariantBreach(rule.invariant, rule.sentence, tuple(ids), count)
        for rule, ids, count in zip(rules, broken, counts, strict=True)
    ]
    return [breach for breach in breaches if breach.count]


def _count(cursor: LedgerCursor, ids_between: tuple[int, int]) -> Counter[tuple[int, str]]:
    """Count a slice's objects by job and state."""
    found: Counter[tuple[int, str]] = Counter()
    cursor.execute(
        "SELECT job_id, state, COUNT(*) AS n FROM objects FORCE INDEX (PRIMARY) WHERE id BETWEEN %s AND %s "
        "GROUP BY job_id, state",
        ids_between,
    )
    for row in cursor.fetchall():
        found[row["job_id"], row["state"]] += row["n"]
        found[row["job_id"], "listed"] += row["n"]
    return found


def _unbalanced(cursor: LedgerCursor, found: Counter[tuple[int, str]]) -> list[InvariantBreach]:
    """Compare each job's counters with its rows, and find rows of jobs that aren't there."""
    cursor.execute(f"SELECT job_id, {', '.join(f'SUM({name}) AS {name}' for name in COUNTED)} FROM counters GROUP BY 1")
    said = {(row["job_id"], name): int(row[name]) for row in cursor.fetchall() for name in COUNTED}
    cursor.execute("SELECT id FROM jobs")
    known = {row["id"] for row in cursor.fetchall()}
    wrong = {job for job, name in {*found, *said} if name != "pending" and found[job, name] != said.get((job, name), 0)}
    gone = {job for counts in (found, said) for (job, _), count in counts.items() if count} - known
    return [
        _breach("I1", f"jobs whose counters differ from their objects ({REPAIRED})", sorted(wrong - gone)),
        _breach("I1", DELETED_BY_HAND, sorted(gone)),
    ]


def _unfinished(cursor: LedgerCursor) -> InvariantBreach:
    """Find jobs that ended too early."""
    cursor.execute(
        "SELECT j.id FROM jobs j WHERE j.state = 'done' AND EXISTS (SELECT 1 FROM objects o FORCE INDEX (by_state) "
        "WHERE o.job_id = j.id AND o.state = 'pending') ORDER BY j.id"
    )
    ids = [row["id"] for row in cursor.fetchall()]
    return _breach("I1", f"jobs that are done with pending objects ({REPAIRED})", ids)


def _broken(
    cursor: LedgerCursor, rule: InvariantRule, ids_between: tuple[int, int], names: Mapping[str, str]
) -> list[int]:
    """Find the rows of a slice that break a rule."""
    cursor.execute(rule.query.format(**names), (*ids_between, *rule.values))
    return sorted(row["id"] for row in cursor.fetchall())


def _breach(invariant: str, sentence: str, ids: list[int]) -> InvariantBreach:
    return InvariantBreach(invariant, sentence, tuple(ids[:SHOWN]), len(ids))


def _slices(cursor: LedgerCursor, keyed: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids with few enough rows for one answer each."""
    last = -1
    firsts = ", ".join(f"(SELECT MIN({key}) FROM {table} WHERE {key} > %s) AS {table}" for table, key in keyed.items())
    while True:
        cursor.execute(f"SELECT {firsts}", [last] * len(keyed))
        row = cursor.fetchone() or {}
        following = [number for number in row.values() if number is not None]
        if not following:
            return
        last = min(following) + SLICE - 1
        yield min(following), last
