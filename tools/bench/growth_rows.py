"""A ledger of many million rows, made by the database itself: one job of one model, as a bucket of photos leaves it."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sluice.ledger import Database, LedgerCursor, counters, jobs, models
from sluice.settings import Settings

LABELS: Final = 1000
RESTS: Final = 1000
"""Different ends of `top`; labels and scores of the first place differ from row to row."""
TOP: Final = 10
BATCH: Final = 50_000
DIGITS: Final = 5
SIZE: Final = 65_000
SHOWN: Final = 10_000
"""Rows whose columns are measured."""
SPREAD, SCATTER, WHOLE = 2_654_435_761, 1_597_334_677, 2**32
"""Multiplied with a row's number and cut off, these give labels and scores in no order."""
CONSUMER: Final = "sluice-consumer-5f6c7d8b9c-x2x4z"
FIXED: Final = {
    "objects": {
        "id": 8,
        "job_id": 4,
        "repeat_no": 4,
        "generation": 4,
        "size": 8,
        "state": 1,
        "attempts": 1,
        "updated": 6,
    },
    "predictions": {"object_id": 8, "job_id": 4, "model_id": 4, "score": 8, "sha256": 32, "created": 6},
}
"""Bytes of the columns that have a fixed length."""
VARYING: Final = {"objects": ("object_key", "etag"), "predictions": ("label", "top", "consumer")}
KEY: Final = "CONCAT('photos/2024/IMG_', LPAD(n, 9, '0'), '.jpg')"


@dataclass(slots=True)
class GrownLedger:
    """A database with so many done objects of one running job."""

    settings: Settings
    job_id: int
    model_id: int
    labels: int = LABELS
    listed: int = 0
    """Objects that were listed so far; the next one has this number."""
    rows: int = 0
    """Those that were made at once."""
    seconds: float = 0.0
    """How long that took."""


def key_of(number: int) -> bytes:
    """Return the key of an object by its number."""
    return b"photos/2024/IMG_%09d.jpg" % number


def etag_of(number: int) -> str:
    """Return the ETag of an object by its number."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def label_of(number: int) -> str:
    """Return one of the model's labels, as long as those of ImageNet are on average."""
    return f"label-{number:03}"


def begin(settings: Settings, labels: int = LABELS, *, compressed: bool = False) -> GrownLedger:
    """Begin the job, without objects, in a database with empty tables; the server compresses their pages if wished."""
    with Database(settings) as database:
        for table in FIXED if compressed else ():
            database.run(_compress, table)
        job_id, model_id = database.run(_begin, labels)
    return GrownLedger(settings, job_id, model_id, labels)


def grow(grown: GrownLedger, rows: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Add done objects until so many were listed, with as many connections as there are processors."""
    begun, first = time.monotonic(), grown.listed
    with Database(grown.settings) as database:
        ids_before = database.run(_next_id) - first
        workers = os.cpu_count() or 1

        def part(number: int) -> None:
            with Database(grown.settings) as own:
                for place in range(first + number * BATCH, rows, workers * BATCH):
                    own.run(_add, grown, ids_before, place, min(BATCH, rows - place))
                    if place and place % (20 * BATCH) == 0:
                        say(f"{place:,} of {rows:,} rows, {(place - first) / (time.monotonic() - begun):,.0f} a second")

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(part, range(workers)))
        database.run(_settle, grown.job_id, rows)
    grown.listed = grown.rows = max(rows, first)
    grown.seconds += time.monotonic() - begun


def _begin(cursor: LedgerCursor, count: int) -> tuple[int, int]:
    labels = [label_of(n) for n in range(count)]
    model = models.register(cursor, "grown", "1", "1" * 64, {"resize": 256}, labels)
    models.promote(cursor, "grown", "1")
    job_id = jobs.submit(cursor, "s3://photos", "grown@1", watch=True)
    jobs.start(cursor, job_id, model.id)
    drawn = random.Random(1)  # noqa: S311 - the same rows each time
    cursor.execute("CREATE TABLE IF NOT EXISTS rests (n INT UNSIGNED NOT NULL PRIMARY KEY, rest TEXT NOT NULL)")
    cursor.executemany(
        "REPLACE INTO rests (n, rest) VALUES (%s, %s)",
        [
            (n, "".join(f',["{label_of(drawn.randrange(count))}",{drawn.random() / 9:.6f}]' for _ in range(TOP - 1)))
            for n in range(RESTS)
        ],
    )
    return job_id, model.id


def _compress(cursor: LedgerCursor, table: str) -> None:
    cursor.execute(f"ALTER TABLE {table} ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8")


def _add(cursor: LedgerCursor, grown: GrownLedger, ids_before: int, first: int, count: int) -> None:
    job_id, model_id = grown.job_id, grown.model_id
    digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
    places = [f"({digits}) t{place}" for place in range(DIGITS)]
    number = " + ".join(f"t{place}.d * {10**place}" for place in range(DIGITS))
    numbers = (
        f"(SELECT %s + {number} AS n, {number} AS place FROM {', '.join(places)} HAVING place < %s ORDER BY n) numbers"  # noqa: S608 - of constants
    )
    cursor.execute(
        "INSERT INTO objects (id, job_id, object_key, etag, size, state) "  # noqa: S608 - the same
        f"SELECT n + %s, %s, {KEY}, MD5(n), {SIZE} + n %% 9973, 'done' FROM {numbers}",
        (ids_before, job_id, first, count),
    )
    label = f"CONCAT('label-', LPAD(n * {SPREAD} %% {WHOLE} * {grown.labels} DIV {WHOLE}, 3, '0'))"
    score = f"ROUND(n * {SCATTER} %% {WHOLE} / {WHOLE}e0, 6)"
    cursor.execute(
        "INSERT INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "  # noqa: S608 - the same
        f"SELECT m.n + %s, %s, %s, label, score, CONCAT('[[\"', label, '\",', score, ']', rest, ']'), sha256, %s "
        f"FROM (SELECT n, {label} AS label, {score} AS score, UNHEX(SHA2(n, 256)) AS sha256 FROM {numbers}) m "
        f"JOIN rests r ON r.n = m.n %% {RESTS} ORDER BY m.n",
        (ids_before, job_id, model_id, CONSUMER, first, count),
    )
    counters.add(cursor, job_id, listed=count, done=count)


def _next_id(cursor: LedgerCursor) -> int:
    cursor.execute("SELECT COALESCE(MAX(id), 0) AS last_id FROM objects")
    return int((cursor.fetchone() or {"last_id": 0})["last_id"]) + 1


def _settle(cursor: LedgerCursor, job_id: int, rows: int) -> None:
    """Say how far the job is listed, and tell the server how many rows there are, as it finds out by itself in time."""
    cursor.execute("REPLACE INTO listings (job_id, key_cursor) VALUES (%s, %s)", (job_id, key_of(rows - 1)))
    cursor.execute("ANALYZE TABLE jobs, objects, predictions, models, counters, listings")


@contextmanager
def quick(settings: Settings, pool: int, at_rest: int) -> Iterator[None]:
    """Give the server memory, and let it write its log lazily, while rows are made."""
    with Database(settings) as database:
        _set(database, innodb_buffer_pool_size=pool, innodb_flush_log_at_trx_commit=0)
        try:
            yield
        finally:
            _set(database, innodb_buffer_pool_size=at_rest, innodb_flush_log_at_trx_commit=1)


def _set(database: Database, **values: int) -> None:
    for name, value in values.items():
        database.run(lambda cursor, name=name, value=value: cursor.execute(f"SET GLOBAL {name} = %s", (value,)))  # type: ignore[misc]
    # MySQL gives and takes memory while it works on.
    while database.run(_resizing):
        time.sleep(0.5)


def _resizing(cursor: LedgerCursor) -> str:
    """Return what the server says of a buffer pool that it is still changing; nothing where it has done so."""
    cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_resize_status'")
    said = str((cursor.fetchone() or {"Value": ""})["Value"])
    return "" if said.startswith("Completed") else said


def index_bytes(database: Database) -> dict[str, float]:
    """Return the bytes a row of each index of the two tables, empty space in their pages among them."""

    def ask(cursor: LedgerCursor) -> dict[str, float]:
        cursor.execute("ANALYZE TABLE objects, predictions")
        cursor.execute("SELECT COUNT(*) AS n FROM predictions")
        rows = int((cursor.fetchone() or {"n": 0})["n"])
        cursor.execute(
            "SELECT CONCAT(s.table_name, '.', s.index_name) AS name, "
            "s.stat_value * (t.data_length + t.index_length) / w.pages AS bytes FROM mysql.innodb_index_stats s "
            "JOIN (SELECT table_name, SUM(stat_value) AS pages FROM mysql.innodb_index_stats "
            "WHERE database_name = DATABASE() AND stat_name = 'size' GROUP BY table_name) w "
            "ON w.table_name = s.table_name JOIN information_schema.tables t "
            "ON t.table_schema = s.database_name AND t.table_name = s.table_name WHERE s.database_name = DATABASE() "
            "AND s.stat_name = 'size' AND s.table_name IN ('objects', 'predictions') ORDER BY name"
        )
        return {str(row["name"]): float(row["bytes"]) / rows for row in cursor.fetchall()}

    return database.run(ask)


def column_bytes(database: Database) -> dict[str, float]:
    """Return the mean bytes of each column of the two tables, without what the server adds to a row."""

    def ask(cursor: LedgerCursor) -> dict[str, float]:
        found: dict[str, float] = {}
        for table, fixed in FIXED.items():
            found |= {f"{table}.{name}": float(size) for name, size in fixed.items()}
            lengths = ", ".join(f"AVG(LENGTH({name})) AS {name}" for name in VARYING[table])
            names = ", ".join(VARYING[table])
            cursor.execute(f"SELECT {lengths} FROM (SELECT {names} FROM {table} LIMIT {SHOWN}) some")  # noqa: S608 - of constants
            found |= {f"{table}.{name}": float(size) for name, size in (cursor.fetchone() or {}).items()}
        return found

    return database.run(ask)
