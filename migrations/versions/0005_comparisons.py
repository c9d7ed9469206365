"""What it takes to compare jobs, to do one again with another model, to ask for what is live, and to prune.

All is added. Columns of `jobs` may be empty, which the server adds without touching a row. `predictions` gets an index
by content, so that a picture which a model has answered is found by its bytes; the server builds it while others read
and write, which takes as long as reading the table. Processes of the release before name none of it, and work on. They
would list the source of a job that `again_of` makes a repetition: such jobs are for the time after the upgrade.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES: Final = {
    # Two jobs that are compared, slice by slice. `live` is 1 for the comparison that is read, and NULL for one that was
    # made anew, whose rows are deleted bit by bit. `marks` are the jobs' counts when it began: with others it is out of
    # date. `repeat_no` and `key_cursor` are where the next slice begins, until all are `planned`.
    "comparisons": """
        CREATE TABLE IF NOT EXISTS comparisons (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            before_job    INT UNSIGNED NOT NULL,
            after_job     INT UNSIGNED NOT NULL,
            live          TINYINT UNSIGNED NULL,
            marks         VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            before_done   BIGINT UNSIGNED NOT NULL,
            repeat_no     INT UNSIGNED NOT NULL DEFAULT 0,
            key_cursor    VARBINARY(1024) NOT NULL DEFAULT '',
            planned       BOOLEAN NOT NULL DEFAULT FALSE,
            complete      BOOLEAN NOT NULL DEFAULT FALSE,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            UNIQUE KEY one_live (before_job, after_job, live),
            KEY by_after (after_job)
        )""",
    # The keys after `low` up to `high` (NULL: all that follow) of one repeat.
    "comparison_slices": """
        CREATE TABLE IF NOT EXISTS comparison_slices (
            comparison_id INT UNSIGNED NOT NULL,
            number        INT UNSIGNED NOT NULL,
            repeat_no     INT UNSIGNED NOT NULL,
            low           VARBINARY(1024) NOT NULL,
            high          VARBINARY(1024) NULL,
            done          BOOLEAN NOT NULL DEFAULT FALSE,
            PRIMARY KEY (comparison_id, number),
            KEY by_done (comparison_id, done, number)
        )""",
    # The objects that differ. A label of '' and an id of 0 stand for no prediction.
    "differences": """
        CREATE TABLE IF NOT EXISTS differences (
            comparison_id INT UNSIGNED NOT NULL,
            kind          ENUM('changed', 'gone', 'new') NOT NULL,
            size          DOUBLE NOT NULL,
            before_id     BIGINT UNSIGNED NOT NULL,
            after_id      BIGINT UNSIGNED NOT NULL,
            before_label  VARCHAR(128) NOT NULL,
            after_label   VARCHAR(128) NOT NULL,
            PRIMARY KEY (comparison_id, kind, size, before_id, after_id),
            KEY by_pair (comparison_id, kind, before_label, after_label, size)
        )""",
    # How many of them there are of each pair of labels, once a comparison is complete.
    "comparison_pairs": """
        CREATE TABLE IF NOT EXISTS comparison_pairs (
            comparison_id INT UNSIGNED NOT NULL,
            kind          ENUM('changed', 'gone', 'new') NOT NULL,
            before_label  VARCHAR(128) NOT NULL,
            after_label   VARCHAR(128) NOT NULL,
            objects       BIGINT UNSIGNED NOT NULL,
            PRIMARY KEY (comparison_id, kind, before_label, after_label),
            KEY by_count (comparison_id, kind, objects)
        )""",
}

COLUMNS: Final = {
    "again_of": "INT UNSIGNED NULL",
    "again_below": "DOUBLE NULL",
    "again_label": "VARCHAR(128) NULL",
    "pruned": "TIMESTAMP(3) NULL",
}

INDEXES: Final = {
    ("predictions", "by_content"): "(sha256, model_id)",
    ("jobs", "by_model"): "(model_id)",
    ("jobs", "by_again"): "(again_of)",
}

ARCHIVE: Final = "CAST(SUBSTRING_INDEX({source}, '/', -1) AS BINARY)"
URL: Final = f"""CONCAT(
            CASE WHEN {{source}} LIKE 's3://%'
                 THEN CONCAT(SUBSTRING_INDEX({{source}}, '/', 3), '/')
                 WHEN LOWER(RIGHT({{source}}, 4)) IN ('.zip', '.tar')
                      AND (o.object_key = {ARCHIVE}
                           OR LEFT(o.object_key, LENGTH({ARCHIVE}) + 2) = CONCAT({ARCHIVE}, '!/'))
                 THEN LEFT({{source}},
                           CHAR_LENGTH({{source}}) - CHAR_LENGTH(SUBSTRING_INDEX({{source}}, '/', -1)))
                 ELSE CONCAT(LEFT({{source}}, 7),
                             TRIM(TRAILING '/' FROM TRIM(TRAILING '!/' FROM SUBSTRING({{source}}, 8))), '/') END,
            COALESCE(CONVERT(o.object_key USING utf8mb4), CONCAT('0x', HEX(o.object_key))))"""
"""An object's url, as the view `results` has it; {source} is its job's."""

VIEWS: Final = {
    # Of several predictions for one url the newest job's. A job in the same bucket may have the url if that begins with
    # its source. Whether there is a newer job at all is asked first: that needs no look at its objects.
    "current": f"""
        CREATE OR REPLACE VIEW current AS
        SELECT {URL.format(source="j.source")} AS url, p.label AS label, p.score AS score,
               CONCAT(m.name, '@', m.version) AS model, p.created AS predicted, o.job_id AS job, p.top AS top,
               p.object_id AS object_id, o.object_key AS object_key
        FROM models m
        STRAIGHT_JOIN jobs j ON j.model_id = m.id
        STRAIGHT_JOIN (objects o JOIN predictions p ON p.object_id = o.id AND p.job_id = o.job_id) ON o.job_id = j.id
        WHERE m.live = 1 AND p.model_id = m.id AND o.repeat_no = 0 AND j.pruned IS NULL AND (
            NOT EXISTS (SELECT 1 FROM jobs l WHERE l.model_id = j.model_id AND l.id > j.id AND l.pruned IS NULL)
            OR NOT EXISTS (
                SELECT 1 FROM jobs n
                STRAIGHT_JOIN objects x FORCE INDEX (one_version)
                    ON x.job_id = n.id AND x.repeat_no = 0 AND x.object_key = o.object_key
                STRAIGHT_JOIN predictions y ON y.object_id = x.id AND y.model_id = n.model_id
                WHERE n.model_id = j.model_id AND n.id > j.id AND n.pruned IS NULL AND CASE
                    WHEN n.source LIKE 's3://%'
                    THEN LEFT(CONCAT(SUBSTRING_INDEX(j.source, '/', 3), '/', o.object_key),
                              LENGTH(TRIM(TRAILING '!/' FROM n.source)))
                         = CAST(TRIM(TRAILING '!/' FROM n.source) AS BINARY)
                    ELSE n.source = j.source END))""",
    # Each object of the one job and of the other, with its counterpart; what both have is told once.
    "prediction_diff": f"""
        CREATE OR REPLACE VIEW prediction_diff AS
        SELECT a.id AS before_job, b.id AS after_job,
               {URL.format(source="IF(side.is_after, b.source, a.source)")} AS url,
               CASE WHEN side.is_after THEN 'new' WHEN q.object_id IS NULL THEN 'gone'
                    WHEN p.label = q.label THEN 'same' ELSE 'changed' END AS kind,
               IF(side.is_after, NULL, p.label) AS before_label,
               IF(side.is_after, p.label, q.label) AS after_label,
               IF(side.is_after, NULL, p.score) AS before_score,
               IF(side.is_after, p.score, q.score) AS after_score,
               CASE WHEN q.object_id IS NULL THEN p.score
                    WHEN p.label = q.label THEN ABS(p.score - q.score) ELSE (p.score + q.score) / 2 END AS size,
               IF(side.is_after, NULL, o.id) AS before_id,
               IF(side.is_after, o.id, q.object_id) AS after_id
        FROM jobs a
        STRAIGHT_JOIN jobs b ON b.id <> a.id
        STRAIGHT_JOIN (SELECT FALSE AS is_after UNION ALL SELECT TRUE) side
        STRAIGHT_JOIN objects o ON o.job_id = IF(side.is_after, b.id, a.id)
        STRAIGHT_JOIN predictions p ON p.object_id = o.id
        LEFT JOIN (objects x FORCE INDEX (one_version) STRAIGHT_JOIN predictions q ON q.object_id = x.id)
            ON x.job_id = IF(side.is_after, a.id, b.id) AND x.repeat_no = o.repeat_no AND x.object_key = o.object_key
        WHERE NOT side.is_after OR q.object_id IS NULL""",
}


def upgrade() -> None:
    """Add all that isn't there yet; each step can be repeated after an interrupted upgrade."""
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    for column, kind in COLUMNS.items():
        if not _has("columns", "jobs", "column_name", column):
            op.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")
    for (table, index), columns in INDEXES.items():
        if not _has("statistics", table, "index_name", index):
            op.execute(f"ALTER TABLE {table} ADD INDEX {index} {columns}")
    for view in VIEWS.values():
        op.execute(view)


def downgrade() -> None:
    """Drop what was added, with its rows; jobs, objects and predictions stay."""
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW IF EXISTS {view}")
    for table, index in reversed(INDEXES):
        if _has("statistics", table, "index_name", index):
            op.execute(f"ALTER TABLE {table} DROP INDEX {index}")
    for column in reversed(COLUMNS):
        if _has("columns", "jobs", "column_name", column):
            op.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")


def _has(kind: str, table: str, column: str, name: str) -> bool:
    """Return whether a table has a column or an index; MySQL has no ADD COLUMN IF NOT EXISTS."""
    statement = text(
        f"SELECT COUNT(*) FROM information_schema.{kind} "
        f"WHERE table_schema = DATABASE() AND table_name = :table AND {column} = :name"
    )
    return bool(op.get_bind().execute(statement, {"table": table, "name": name}).scalar())
