"""Writes pages of a bucket's listing to the ledger, each in one transaction with its cursor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sluice.domain import ListedObject, Reason
from sluice.errors import LedgerError
from sluice.ledger import again, counters, jobs, objects, trial_predictions
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import DETAIL_MAX, ListingState, PageChanges, QuarantineEntry, shortened

STATEMENT_ROWS: Final = 1000
PENDING: Final = ("pending", None, None)
ARCHIVED: Final = ("quarantined", Reason.ARCHIVED, "listed in an archive storage class")
"""State, reason and detail of a row. An object that a read finds archived has another detail."""
IN_RANGE: Final = """
    SELECT id, object_key, generation, etag, state, reason, detail FROM objects FORCE INDEX (one_version)
    WHERE job_id = %s AND repeat_no = %s AND object_key BETWEEN %s AND %s ORDER BY object_key, generation LIMIT %s"""
ONE_BY_ONE: Final = """
    SELECT o.id, o.object_key, o.generation, o.etag, o.state, o.reason, o.detail FROM (
        SELECT (SELECT id FROM objects FORCE INDEX (one_version) WHERE job_id = %s AND repeat_no = %s
                AND object_key = UNHEX(k.wanted) ORDER BY generation DESC LIMIT 1) AS id
        FROM JSON_TABLE(%s, '$[*]' COLUMNS (wanted VARCHAR(2048) PATH '$')) k
    ) newest JOIN objects o ON o.id = newest.id"""
"""Makes the server look each key up separately, whatever is between them and however often they changed."""


def state(cursor: LedgerCursor, job_id: int) -> ListingState:
    """Return the state of a job's listing; an unlisted job is at its beginning."""
    cursor.execute(
        "SELECT key_cursor, repeat_no, passes, complete, "
        "TIMESTAMPDIFF(MICROSECOND, updated, CURRENT_TIMESTAMP(3)) / 1e6 AS age FROM listings WHERE job_id = %s",
        (job_id,),
    )
    row = cursor.fetchone()
    if row is None:
        return ListingState(b"", 0, 0, complete=False, age_seconds=0.0)
    # The server's clock may be set back; the next pass must not wait for the clock as well.
    age = max(0.0, float(row["age"]))
    return ListingState(row["key_cursor"], row["repeat_no"], row["passes"], bool(row["complete"]), age)


def add_page(
    cursor: LedgerCursor,
    job_id: int,
    entries: Sequence[ListedObject],
    *,
    repeat_no: int,
    last: bool,
    repeats: int,
    place: bytes | None = None,
    after: bytes | None = None,
) -> PageChanges:
    """Write a page (in key order) to the ledger and move the cursor past it; `last` ends the pass or repeat.

    The cursor is the last entry's, or `place`. `after` is the cursor from which the page was read: if the ledger isn't
    there, because its database was restored or lost what it had committed, nothing is written.

    Repeating it after a lost answer changes nothing: the rows exist, and the cursor of a finished repeat doesn't move.
    """
    place = None if last else place or place_behind(entries)
    if after is not None:
        behind = (repeat_no + 1, b"") if last else (repeat_no, place or after)
        now = state(cursor, job_id)
        if (now.repeat_no, now.cursor) not in ((repeat_no, after), behind):
            return PageChanges(0, 0, set_back=True)
    added = _add(cursor, job_id, {repeat_no: entries}, adjacent=True)
    cursor.execute("INSERT IGNORE INTO listings (job_id) VALUES (%s)", (job_id,))
    if not last:
        if place is not None:
            cursor.execute(
                "UPDATE listings SET key_cursor = %s, updated = CURRENT_TIMESTAMP(3) "
                "WHERE job_id = %s AND repeat_no = %s",
                (place, job_id, repeat_no),
            )
        return added
    # After the last repeat `repeat_no` equals `repeats`: no pass is in progress.
    ended = repeat_no + 1 >= repeats
    cursor.execute(
        "UPDATE listings SET key_cursor = '', repeat_no = repeat_no + 1, passes = passes + %s, "
        "complete = complete OR %s, updated = CURRENT_TIMESTAMP(3) WHERE job_id = %s AND repeat_no = %s",
        (ended, ended, job_id, repeat_no),
    )
    return added


def place_behind(entries: Sequence[ListedObject]) -> bytes | None:
    """Return the cursor behind a page; None: the page says nothing of it."""
    # A refused entry may have a stand-in key, which sorts differently.
    places = (entry.cursor or (b"" if entry.refused else entry.key) for entry in reversed(entries))
    return next((each for each in places if each), None)


def restart(cursor: LedgerCursor, job_id: int) -> None:
    """Begin another pass over a watched bucket."""
    cursor.execute("UPDATE listings SET key_cursor = '', repeat_no = 0 WHERE job_id = %s", (job_id,))


def upsert_keys(cursor: LedgerCursor, job_id: int, entries: Iterable[ListedObject]) -> PageChanges:
    """Write single keys from a notification, in any order, to the ledger; the cursor doesn't move."""
    return _reopened(cursor, job_id, _add(cursor, job_id, {0: entries}, adjacent=False))


def add_changed(cursor: LedgerCursor, job_id: int, changed: Mapping[int, ListedObject]) -> PageChanges:
    """Supersede objects whose keys have other bytes now, and add their successors; a job that was done runs again.

    The job may have ended because another shard's object was committed late. A job that repeats an earlier one's
    objects has no use for other bytes than that one met: there the objects are quarantined.
    """
    if again.of_job(cursor, job_id) is not None:
        objects.quarantine(
            cursor,
            [QuarantineEntry(i, Reason.CHANGED_SINCE, f"its ETag is now {now.etag}") for i, now in changed.items()],
        )
        return PageChanges(0, 0)
    # Locked here in id order, because the repeats are then processed one by one.
    cursor.execute(
        "SELECT id, repeat_no, object_key FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s AND job_id = %s "
        "ORDER BY id FOR UPDATE",
        (sorted(changed) or [0], job_id),
    )
    rows = {row["id"]: row for row in cursor.fetchall()}
    repeats: dict[int, list[ListedObject]] = {}
    for object_id, now in changed.items():
        row = rows.get(object_id)
        if row is None:
            continue  # its job was pruned, or it stood for an archive that can be read by now
        if row["object_key"] != now.key:
            raise LedgerError(f"object {object_id} is not {now.key!r} of job {job_id}")
        repeats.setdefault(row["repeat_no"], []).append(now)
    return _reopened(cursor, job_id, _add(cursor, job_id, repeats, adjacent=False))


def _reopened(cursor: LedgerCursor, job_id: int, added: PageChanges) -> PageChanges:
    """Set a done job back to running if an object becomes pending, in the same transaction."""
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
    """Write entries to the ledger; return the changes, and the changes of the job's counters."""
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
    """Delete rows of archives that couldn't be read before and now can; return how many were in each state."""
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
    """Return whether an entry shows that the reason is gone: the object exists again, or isn't archived any more."""
    if row["state"] != "quarantined" or entry.refused:
        return False
    listed_so = (row["reason"], row["detail"]) == ARCHIVED[1:]
    return row["reason"] == Reason.NOT_FOUND or (listed_so and not entry.archived)


def _newest(
    cursor: LedgerCursor, job_id: int, keys: Sequence[bytes], repeat_no: int, *, adjacent: bool
) -> dict[bytes, dict[str, Any]]:
    """Return the newest row of each sorted key: in one range for a page of neighbouring keys, otherwise one by one.

    Rows aren't locked: if another writer comes in between, the insert is a duplicate, and the transaction is retried.
    """
    if not keys:
        return {}
    if adjacent:
        # A page of a new listing is in a range without rows, which one index lookup shows. If keys were deleted or
        # changed often, the range has many rows that nobody needs.
        most = 2 * len(keys)
        cursor.execute(IN_RANGE, (job_id, repeat_no, keys[0], keys[-1], most))
        found = cursor.fetchall()
        if len(found) < most:
            return {row["object_key"]: row for row in found}
    cursor.execute(ONE_BY_ONE, (job_id, repeat_no, json.dumps([key.hex() for key in keys])))
    return {row["object_key"]: row for row in cursor.fetchall()}


def _lock(cursor: LedgerCursor, ids: Sequence[int]) -> dict[int, str]:
    """Lock rows in id order, as all transactions do, and return their states."""
    if not ids:
        return {}
    cursor.execute(
        "SELECT id, state FROM objects FORCE INDEX (PRIMARY) WHERE id IN %s ORDER BY id FOR UPDATE", (sorted(ids),)
    )
    return {row["id"]: row["state"] for row in cursor.fetchall()}


def _supersede(cursor: LedgerCursor, states: Mapping[int, str]) -> Counter[str]:
    """Supersede locked rows and delete their predictions; return how many were in each state."""
    changed = [object_id for object_id, state in states.items() if state != "superseded"]
    if changed:
        cursor.execute("DELETE FROM predictions WHERE object_id IN %s", (changed,))
        trial_predictions.forget(cursor, changed)
        cursor.execute(
            "UPDATE objects SET state = 'superseded', reason = NULL, detail = NULL, updated = CURRENT_TIMESTAMP(3) "
            "WHERE id IN %s",
            (changed,),
        )
    return Counter(states[object_id] for object_id in changed)


def _insert(cursor: LedgerCursor, job_id: int, fresh: Sequence[tuple[ListedObject, int]], repeat_no: int) -> int:
    """Insert objects; quarantine those that can't be read directly and return their number."""
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
