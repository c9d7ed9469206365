"""Pages of a bucket's listing into the ledger, each one transaction with its cursor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sluice.domain import ListedObject, Reason
from sluice.errors import LedgerError
from sluice.ledger import counters, jobs, objects
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import DETAIL_MAX, ListingState, PageChanges, shortened

STATEMENT_ROWS: Final = 1000
PENDING: Final = ("pending", None, None)
ARCHIVED: Final = ("quarantined", Reason.ARCHIVED, "listed in an archive storage class")
"""State, reason and detail of a row. What a read finds archived is told in other words."""
IN_RANGE: Final = """
    SELECT id, object_key, generation, etag, state, reason, detail FROM objects FORCE INDEX (one_version)
    WHERE job_id = %s AND repeat_no = %s AND object_key BETWEEN %s AND %s ORDER BY object_key, generation LIMIT %s"""
ONE_BY_ONE: Final = """
    SELECT o.id, o.object_key, o.generation, o.etag, o.state, o.reason, o.detail FROM (
        SELECT (SELECT id FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = %s
                AND object_key = UNHEX(k.wanted) ORDER BY generation DESC LIMIT 1) AS id
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (wanted VARCHAR(2048) PATH '$')) k
    ) newest JOIN objects o ON o.id = newest.id"""
"""The server looks each key up by itself, whatever else stands between them and however often they changed."""


def state(cursor: LedgerCursor, job_id: int) -> ListingState:
    """Say where a job's listing stands; a job that was never listed stands at its beginning."""
    cursor.execute(
        "SELECT key_cursor, repeat_no, passes, complete, "
        "TIMESTAMPDIFF(MICROSECOND, updated, CURRENT_TIMESTAMP(3)) / 1e6 AS age FROM listings WHERE job_id = %s",
        (job_id,),
    )
    row = cursor.fetchone()
    if row is None:
        return ListingState(b"", 0, 0, complete=False, age_seconds=0.0)
    # The server's clock may be set back; what waits for the next pass must not wait for the clock as well.
    age = max(0.0, float(row["age"]))
    return ListingState(row["key_cursor"], row["repeat_no"], row["passes"], bool(row["complete"]), age)


def add_page(
    cursor: LedgerCursor, job_id: int, entries: Sequence[ListedObject], *, repeat_no: int, last: bool, repeats: int
) -> PageChanges:
    """Bring a page (in key order) into the ledger and move the cursor past it; `last` ends the pass or repeat.

    Doing it again after a lost answer changes nothing: the rows are there, and the cursor of a repeat that has ended
    does not move.
    """
    added = _add(cursor, job_id, {repeat_no: entries}, adjacent=True)
    cursor.execute("INSERT IGNORE INTO listings (job_id) VALUES (%s)", (job_id,))
    if not last:
        # A refused entry's key may be a stand-in, whose place among the keys is another.
        places = (entry.cursor or (b"" if entry.refused else entry.key) for entry in reversed(entries))
        place = next((place for place in places if place), None)
        if place is not None:
            cursor.execute(
                "UPDATE listings SET key_cursor = %s, updated = CURRENT_TIMESTAMP(3) "
                "WHERE job_id = %s AND repeat_no = %s",
                (place, job_id, repeat_no),
            )
        return added
    # After the last repeat `repeat_no` stands at `repeats`: no pass is under way.
    ended = repeat_no + 1 >= repeats
    cursor.execute(
        "UPDATE listings SET key_cursor = '', repeat_no = repeat_no + 1, passes = passes + %s, "
        "complete = complete OR %s, updated = CURRENT_TIMESTAMP(3) WHERE job_id = %s AND repeat_no = %s",
        (ended, ended, job_id, repeat_no),
    )
    return added


def restart(cursor: LedgerCursor, job_id: int) -> None:
    """Begin another pass over a bucket that is watched."""
    cursor.execute("UPDATE listings SET key_cursor = '', repeat_no = 0 WHERE job_id = %s", (job_id,))


def upsert_keys(cursor: LedgerCursor, job_id: int, entries: Iterable[ListedObject]) -> PageChanges:
    """Bring single keys, in any order, into the ledger: what a notification says; the cursor stays."""
    return _reopened(cursor, job_id, _add(cursor, job_id, {0: entries}, adjacent=False))


def add_changed(cursor: LedgerCursor, job_id: int, changed: Mapping[int, ListedObject]) -> PageChanges:
    """Supersede objects whose keys have other bytes now, and add their successors; a job that was done runs again.

    Another shard's object may have been committed late, and its job have ended of that.
    """
    # Locked here, in order of id, since their repeats are gone through one by one.
    cursor.execute(
        "SELECT id, repeat_no, object_key FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s AND job_id = %s "
        "ORDER BY id FOR UPDATE",
        (sorted(changed) or [0], job_id),
    )
    rows = {row["id"]: row for row in cursor.fetchall()}
    repeats: dict[int, list[ListedObject]] = {}
    for object_id, now in changed.items():
        row = rows.get(object_id)
        if row is None or row["object_key"] != now.key:
            raise LedgerError(f"object {object_id} is not {now.key!r} of job {job_id}")
        repeats.setdefault(row["repeat_no"], []).append(now)
    return _reopened(cursor, job_id, _add(cursor, job_id, repeats, adjacent=False))


def _reopened(cursor: LedgerCursor, job_id: int, added: PageChanges) -> PageChanges:
    """Have a job that was done run again if something is pending anew, in the transaction that makes it so."""
    if added.new or added.replayed:
        return replace(added, reopened=jobs.reopen(cursor, job_id))
    return added


def _add(
    cursor: LedgerCursor, job_id: int, repeats: Mapping[int, Iterable[ListedObject]], *, adjacent: bool
) -> PageChanges:
    counts: Counter[str] = Counter()
    for repeat_no, entries in sorted(repeats.items()):
        counts.update(_add_entries(cursor, job_id, entries, repeat_no, adjacent=adjacent))
    new, replayed, superseded = counts.pop("new", 0), counts.pop("replayed", 0), counts.pop("superseding", 0)
    counters.add(cursor, job_id, **counts)
    return PageChanges(new, superseded, replayed)


def _add_entries(
    cursor: LedgerCursor, job_id: int, entries: Iterable[ListedObject], repeat_no: int, *, adjacent: bool
) -> dict[str, int]:
    """Bring entries into the ledger; return what that did, and what the job's counters change by."""
    wanted = {entry.key: entry for entry in entries}
    known = _newest(cursor, job_id, sorted(wanted), repeat_no, adjacent=adjacent)
    fresh: list[tuple[ListedObject, int]] = []
    outdated: list[int] = []
    cured: list[int] = []
    opened: list[bytes] = []
    for entry in wanted.values():
        row = known.get(entry.key)
        if entry.archive_etag and not entry.refused:
            opened += [entry.key] if row else []
        elif row is None:
            fresh.append((entry, 0))
        elif row["etag"] != entry.etag:
            fresh.append((entry, row["generation"] + 1))
            outdated.append(row["id"])
        elif _is_cured(row, entry):
            cured.append(row["id"])
    states = _lock(cursor, [*outdated, *cured])
    superseded = _supersede(cursor, {object_id: states[object_id] for object_id in outdated if object_id in states})
    replayed = [object_id for object_id in cured if states.get(object_id) == "quarantined"]
    if replayed:
        objects.make_pending(cursor, replayed)
    given_up = _insert(cursor, job_id, fresh, repeat_no)
    gone = _forget(cursor, job_id, opened, repeat_no)
    return {
        "new": len(fresh),
        "listed": len(fresh) - gone.total(),
        "done": -superseded["done"],
        "quarantined": given_up - superseded["quarantined"] - len(replayed) - gone["quarantined"],
        "superseding": sum(superseded.values()),
        "superseded": sum(superseded.values()) - gone["superseded"],
        "replayed": len(replayed),
    }


def _forget(cursor: LedgerCursor, job_id: int, archives: Sequence[bytes], repeat_no: int) -> Counter[str]:
    """Remove the rows of archives that could not be read once, and now can; return how many were in each state."""
    if not archives:
        return Counter()
    cursor.execute(
        "SELECT id, state FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = %s "
        "AND object_key IN %s AND state <> 'done' ORDER BY id FOR UPDATE",
        (job_id, repeat_no, list(archives)),
    )
    states = {row["id"]: row["state"] for row in cursor.fetchall()}
    if states:
        cursor.execute("DELETE FROM objects WHERE id IN %s", (sorted(states),))
    return Counter(states.values())


def _is_cured(row: Mapping[str, Any], entry: ListedObject) -> bool:
    """Return whether an object was given up for what this entry shows to be over: it is there, or in no archive."""
    if row["state"] != "quarantined" or entry.refused:
        return False
    listed_so = (row["reason"], row["detail"]) == ARCHIVED[1:]
    return row["reason"] == Reason.NOT_FOUND or (listed_so and not entry.archived)


def _newest(
    cursor: LedgerCursor, job_id: int, keys: Sequence[bytes], repeat_no: int, *, adjacent: bool
) -> dict[bytes, dict[str, Any]]:
    """Return the newest row of each sorted key: in one range for a page, whose keys are neighbours, else one by one.

    Rows are not locked: a writer that comes between makes the insert a duplicate, and the transaction starts again.
    """
    if not keys:
        return {}
    if adjacent:
        # A page of a fresh listing falls in a range without rows: one look at the index, nothing to compare. Where
        # keys were deleted, or changed often, the range has many rows that nobody asks for.
        most = 2 * len(keys)
        cursor.execute(IN_RANGE, (job_id, repeat_no, keys[0], keys[-1], most))
        found = cursor.fetchall()
        if len(found) < most:
            return {row["object_key"]: row for row in found}
    cursor.execute(ONE_BY_ONE, (job_id, repeat_no, json.dumps([key.hex() for key in keys])))
    return {row["object_key"]: row for row in cursor.fetchall()}


def _lock(cursor: LedgerCursor, ids: Sequence[int]) -> dict[int, str]:
    """Lock rows in order of id, as everybody does, and return their states."""
    if not ids:
        return {}
    cursor.execute(
        "SELECT id, state FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s ORDER BY id FOR UPDATE", (sorted(ids),)
    )
    return {row["id"]: row["state"] for row in cursor.fetchall()}


def _supersede(cursor: LedgerCursor, states: Mapping[int, str]) -> Counter[str]:
    """Supersede locked rows and remove their predictions; return how many were in each state."""
    changed = [object_id for object_id, state in states.items() if state != "superseded"]
    if changed:
        cursor.execute("DELETE FROM predictions WHERE object_id IN %s", (changed,))
        cursor.execute(
            "UPDATE objects SET state = 'superseded', reason = NULL, detail = NULL, updated = CURRENT_TIMESTAMP(3) "
            "WHERE id IN %s",
            (changed,),
        )
    return Counter(states[object_id] for object_id in changed)


def _insert(cursor: LedgerCursor, job_id: int, fresh: Sequence[tuple[ListedObject, int]], repeat_no: int) -> int:
    """Insert objects, those that can't be read straight into quarantine; return how many those are."""
    for first in range(0, len(fresh), STATEMENT_ROWS):
        cursor.executemany(
            "INSERT INTO objects (job_id, object_key, repeat_no, generation, etag, size, state, reason, detail) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (job_id, entry.key, repeat_no, generation, entry.etag, entry.size, *_state(entry))
                for entry, generation in fresh[first : first + STATEMENT_ROWS]
            ],
        )
    return sum(entry.archived or bool(entry.refused) for entry, _ in fresh)


def _state(entry: ListedObject) -> tuple[str, str | None, str | None]:
    """Return state, reason and detail of a new row."""
    if entry.refused:
        return "quarantined", entry.reason, shortened(entry.refused, DETAIL_MAX)
    if entry.archived:
        return ARCHIVED
    return PENDING
