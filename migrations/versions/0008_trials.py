"""Trials: candidate versions that answer a share of the objects, what they said, and what of it is counted.

Three tables and three views are added. `predictions` stays as it is: what a candidate says beside the live version
stands in `trial_predictions`, and what it says instead stands in `predictions`, marked by its version. The view
`current` shows that while its trial runs, so it is made anew; without a trial it says what it said before.

Processes of the release before name none of it, and their consumers pass over what a producer says of a trial: while
they are replaced, some objects are answered without the candidate.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES: Final = {
    # A person may insert only (model), and set state to 'stopped'. `promote_n` empty: nobody promotes it but people.
    # `live_id` is the version that it is compared with; `reports_from` the newest report when it began: older ones
    # aren't read.
    "trials": """
        CREATE TABLE IF NOT EXISTS trials (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            model         VARCHAR(97) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            share         DOUBLE NOT NULL DEFAULT 0.1,
            shadow        BOOLEAN NOT NULL DEFAULT FALSE,
            promote_n     BIGINT UNSIGNED NULL,
            promote_by    ENUM('accuracy', 'agreement') NOT NULL DEFAULT 'accuracy',
            margin        DOUBLE NOT NULL DEFAULT 0.01,
            confidence    DOUBLE NOT NULL DEFAULT 0.95,
            stop_failures DOUBLE NOT NULL DEFAULT 0.05,
            made_by       VARCHAR(64) NOT NULL DEFAULT '',
            state         ENUM('pending', 'running', 'promoted', 'stopped') NOT NULL DEFAULT 'pending',
            message       VARCHAR(1000) NOT NULL DEFAULT '',
            model_id      INT UNSIGNED NULL,
            live_id       INT UNSIGNED NULL,
            reports_from  BIGINT UNSIGNED NOT NULL DEFAULT 0,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            started       TIMESTAMP(3) NULL,
            finished      TIMESTAMP(3) NULL,
            KEY by_state (state, id),
            KEY by_live (live_id, state)
        )""",
    # What the candidate said of an object; `failure` says why it said nothing. `live_label` and `live_score` are what
    # the live version said of it; empty where it wasn't asked.
    "trial_predictions": """
        CREATE TABLE IF NOT EXISTS trial_predictions (
            object_id     BIGINT UNSIGNED NOT NULL,
            model_id      INT UNSIGNED NOT NULL,
            trial_id      INT UNSIGNED NOT NULL,
            job_id        INT UNSIGNED NOT NULL,
            label         VARCHAR(128) NOT NULL,
            score         DOUBLE NOT NULL,
            top           JSON NOT NULL,
            sha256        BINARY(32) NOT NULL,
            consumer      VARCHAR(64) NOT NULL,
            live_label    VARCHAR(128) NOT NULL,
            live_score    DOUBLE NOT NULL,
            failure       VARCHAR(200) NOT NULL DEFAULT '',
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            PRIMARY KEY (object_id, model_id),
            KEY by_pair (trial_id, live_label, label),
            KEY by_content (sha256, model_id)
        )""",
    # How often the one label met the other, in slots as in `counters`; `label` is '' for failures. Of `timed` objects
    # it is known how long each version took.
    "trial_counts": """
        CREATE TABLE IF NOT EXISTS trial_counts (
            trial_id      INT UNSIGNED NOT NULL,
            live_label    VARCHAR(128) NOT NULL,
            label         VARCHAR(128) NOT NULL,
            slot          TINYINT UNSIGNED NOT NULL,
            objects       BIGINT NOT NULL DEFAULT 0,
            score         DOUBLE NOT NULL DEFAULT 0,
            live_score    DOUBLE NOT NULL DEFAULT 0,
            timed         BIGINT NOT NULL DEFAULT 0,
            seconds       DOUBLE NOT NULL DEFAULT 0,
            live_seconds  DOUBLE NOT NULL DEFAULT 0,
            PRIMARY KEY (trial_id, live_label, label, slot)
        )""",
}

ARCHIVE: Final = "CAST(SUBSTRING_INDEX(j.source, '/', -1) AS BINARY)"
URL: Final = f"""CONCAT(
            CASE WHEN j.source LIKE 's3://%'
                 THEN CONCAT(SUBSTRING_INDEX(j.source, '/', 3), '/')
                 WHEN LOWER(RIGHT(j.source, 4)) IN ('.zip', '.tar')
                      AND (o.object_key = {ARCHIVE}
                           OR LEFT(o.object_key, LENGTH({ARCHIVE}) + 2) = CONCAT({ARCHIVE}, '!/'))
                 THEN LEFT(j.source,
                           CHAR_LENGTH(j.source) - CHAR_LENGTH(SUBSTRING_INDEX(j.source, '/', -1)))
                 ELSE CONCAT(LEFT(j.source, 7),
                             TRIM(TRAILING '/' FROM TRIM(TRAILING '!/' FROM SUBSTRING(j.source, 8))), '/') END,
            COALESCE(CONVERT(o.object_key USING utf8mb4), CONCAT('0x', HEX(o.object_key))))"""
"""An object's url, as revision 0005 has it."""


def current(*, model: str, candidate: str, newer: str) -> str:
    """Return the view `current`: who is named as the model, and whose answers count beside the live version's."""
    return f"""
        CREATE OR REPLACE VIEW current AS
        SELECT {URL} AS url, p.label AS label, p.score AS score,
               {model} AS model, p.created AS predicted, o.job_id AS job, p.top AS top,
               p.object_id AS object_id, o.object_key AS object_key
        FROM models m
        STRAIGHT_JOIN jobs j ON j.model_id = m.id
        STRAIGHT_JOIN (objects o JOIN predictions p ON p.object_id = o.id AND p.job_id = o.job_id) ON o.job_id = j.id
        WHERE m.live = 1 AND (p.model_id = m.id{candidate}) AND o.repeat_no = 0 AND j.pruned IS NULL AND (
            NOT EXISTS (SELECT 1 FROM jobs l WHERE l.model_id = j.model_id AND l.id > j.id AND l.pruned IS NULL)
            OR NOT EXISTS (
                SELECT 1 FROM jobs n
                STRAIGHT_JOIN objects x FORCE INDEX (one_version)
                    ON x.job_id = n.id AND x.repeat_no = 0 AND x.object_key = o.object_key
                STRAIGHT_JOIN predictions y ON y.object_id = x.id AND (y.model_id = n.model_id{newer})
                WHERE n.model_id = j.model_id AND n.id > j.id AND n.pruned IS NULL AND CASE
                    WHEN n.source LIKE 's3://%'
                    THEN LEFT(CONCAT(SUBSTRING_INDEX(j.source, '/', 3), '/', o.object_key),
                              LENGTH(TRIM(TRAILING '!/' FROM n.source)))
                         = CAST(TRIM(TRAILING '!/' FROM n.source) AS BINARY)
                    ELSE n.source = j.source END))"""


# What a candidate says instead of the live version counts while its trial runs.
RUNNING: Final = """ OR EXISTS (
            SELECT 1 FROM trials {name} WHERE {name}.live_id = {live} AND {name}.state = 'running' AND NOT {name}.shadow
            AND {name}.model_id = {said})"""
CURRENT: Final = current(
    model="(SELECT CONCAT(a.name, '@', a.version) FROM models a WHERE a.id = p.model_id)",
    candidate=RUNNING.format(name="t", live="m.id", said="p.model_id"),
    newer=RUNNING.format(name="u", live="n.model_id", said="y.model_id"),
)
CURRENT_BEFORE: Final = current(model="CONCAT(m.name, '@', m.version)", candidate="", newer="")

VIEWS: Final = {
    "trial_pairs": """
        CREATE OR REPLACE VIEW trial_pairs AS
        SELECT trial_id AS trial, live_label, label, SUM(objects) AS objects,
               SUM(live_score) / SUM(objects) AS live_score, SUM(score) / SUM(objects) AS score
        FROM trial_counts GROUP BY trial_id, live_label, label""",
    # What reports say of either version, of each object the newest: 1 right, 0 wrong, NULL: it wasn't asked.
    "trial_reports": """
        CREATE OR REPLACE VIEW trial_reports AS
        SELECT t.id AS trial, f.object_id AS object_id, f.label AS right_label, q.label AS label,
               NULLIF(q.live_label, '') AS live_label, q.label = f.label AS is_right,
               CASE WHEN t.shadow THEN q.live_label = f.label END AS live_is_right
        FROM feedback f
        STRAIGHT_JOIN trial_predictions q ON q.object_id = f.object_id AND q.failure = ''
        STRAIGHT_JOIN trials t ON t.id = q.trial_id AND f.id > t.reports_from
        WHERE f.label <> '' AND NOT EXISTS (
            SELECT 1 FROM feedback g WHERE g.object_id = f.object_id AND g.id > f.id AND g.label <> '')
        UNION ALL
        SELECT t.id, f.object_id, f.label, NULL, p.label, NULL, p.label = f.label
        FROM feedback f
        STRAIGHT_JOIN predictions p ON p.object_id = f.object_id
        STRAIGHT_JOIN trials t ON t.live_id = p.model_id AND NOT t.shadow AND f.id > t.reports_from
            AND p.created >= t.started AND (t.finished IS NULL OR p.created <= t.finished)
        WHERE f.label <> '' AND NOT EXISTS (
            SELECT 1 FROM feedback g WHERE g.object_id = f.object_id AND g.id > f.id AND g.label <> '')""",
    "trial_progress": """
        CREATE OR REPLACE VIEW trial_progress AS
        SELECT t.id AS trial, t.model AS model, CONCAT(m.name, '@', m.version) AS live,
               IF(t.shadow, 'shadow', 'canary') AS mode, t.share AS share, t.state AS state,
               COALESCE(c.answered, 0) AS answered, COALESCE(c.failed, 0) AS failed,
               CASE WHEN t.shadow THEN c.agreed / c.answered END AS agreement,
               CASE WHEN t.shadow THEN c.shift / c.answered END AS score_shift,
               1000 * c.seconds / c.timed AS milliseconds,
               CASE WHEN t.shadow THEN 1000 * c.live_seconds / c.timed END AS live_milliseconds,
               COALESCE(r.reports, 0) AS reports, r.accuracy AS accuracy, r.live_accuracy AS live_accuracy,
               t.message AS message
        FROM trials t
        LEFT JOIN models m ON m.id = t.live_id
        LEFT JOIN (SELECT trial_id, SUM(IF(label = '', 0, objects)) AS answered,
                          SUM(IF(label = '', objects, 0)) AS failed,
                          SUM(IF(label <> '' AND label = live_label, objects, 0)) AS agreed,
                          SUM(IF(label = '', 0, score - live_score)) AS shift, NULLIF(SUM(timed), 0) AS timed,
                          SUM(seconds) AS seconds, SUM(live_seconds) AS live_seconds
                   FROM trial_counts GROUP BY trial_id) c ON c.trial_id = t.id
        LEFT JOIN (SELECT trial, COUNT(*) AS reports, AVG(is_right) AS accuracy, AVG(live_is_right) AS live_accuracy
                   FROM trial_reports GROUP BY trial) r ON r.trial = t.id""",
}


def upgrade() -> None:
    """Create tables and views; each step can be repeated where an upgrade was cut off."""
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    for view in (*VIEWS.values(), CURRENT):
        op.execute(view)


def downgrade() -> None:
    """Drop them with their rows; predictions stay, also those that a candidate made instead of the live version."""
    op.execute(CURRENT_BEFORE)
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW IF EXISTS {view}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")
