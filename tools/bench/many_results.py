"""A job with many results, made by the database itself in seconds: for benchmarks and tests."""

from __future__ import annotations

from typing import Final

from sluice.ledger import Database, LedgerCursor, jobs, models

LABELS: Final = 50
SCORES: Final = 97
BATCH: Final = 20_000


def many_results(database: Database, count: int, version: str = "1") -> tuple[int, int]:
    """Insert a done job of the model `many` with so many results; return its id and the id of its first object.

    The n-th has the name dir/n.jpg (n in nine digits), the label `label-{n % 50}` and the score (n % 97) / 97, so each
    label has many scores, and each score many results.
    """
    job_id, model_id = database.run(_begin, version)
    for first in range(0, count, BATCH):
        database.run(_add, job_id, model_id, first, min(BATCH, count - first))
    return job_id, database.run(_finish, job_id, count)


def _begin(cursor: LedgerCursor, version: str) -> tuple[int, int]:
    model = models.register(
        cursor, "many", version, version * 64, {"resize": 256}, [f"label-{n}" for n in range(LABELS)]
    )
    job_id = jobs.submit(cursor, "s3://photos", f"many@{version}")
    jobs.start(cursor, job_id, model.id)
    return job_id, model.id


def _add(cursor: LedgerCursor, job_id: int, model_id: int, first: int, count: int) -> None:
    digits = " UNION ALL ".join(f"SELECT {digit} AS d" for digit in range(10))
    tens = [f"({digits}) t{place}" for place in range(5)]
    number = " + ".join(f"t{place}.d * {10**place}" for place in range(5))
    cursor.execute(
        "INSERT IGNORE INTO objects (job_id, object_key, etag, size, state) "  # noqa: S608 - of constants
        "SELECT %s, CONCAT('dir/', LPAD(n, 9, '0'), '.jpg'), 'e', 1, 'done' FROM "
        f"(SELECT %s + {number} AS n, {number} AS place FROM {', '.join(tens)}) numbers "
        "WHERE place < %s ORDER BY n",
        (job_id, first, count),
    )
    cursor.execute(
        "INSERT IGNORE INTO predictions (object_id, job_id, model_id, label, score, top, sha256, consumer) "
        "SELECT id, job_id, %s, CONCAT('label-', n % %s), (n % %s) / %s, "
        "JSON_ARRAY(JSON_ARRAY(CONCAT('label-', n % %s), (n % %s) / %s)), REPEAT('x', 32), 'test' FROM "
        "(SELECT id, job_id, CAST(SUBSTR(CONVERT(object_key USING ascii), 5, 9) AS UNSIGNED) AS n FROM objects "
        "WHERE job_id = %s AND object_key >= CONCAT('dir/', LPAD(%s, 9, '0'))) made".replace("n % %s", "n %% %s"),
        (model_id, LABELS, SCORES, SCORES, LABELS, SCORES, SCORES, job_id, first),
    )


def _finish(cursor: LedgerCursor, job_id: int, count: int) -> int:
    cursor.execute("REPLACE INTO counters (job_id, slot, listed, done) VALUES (%s, 0, %s, %s)", (job_id, count, count))
    cursor.execute("REPLACE INTO listings (job_id, repeat_no, passes, complete) VALUES (%s, 1, 1, TRUE)", (job_id,))
    cursor.execute("UPDATE jobs SET state = 'done', finished = CURRENT_TIMESTAMP(3) WHERE id = %s", (job_id,))
    cursor.execute("SELECT COALESCE(MIN(id), 0) AS first FROM objects WHERE job_id = %s", (job_id,))
    row = cursor.fetchone()
    return int(row["first"]) if row else 0
