"""The ledger: models, jobs, objects, predictions, listings, counters, feedback, and the views for people.

DDL isn't transactional, so each statement can be repeated after an interrupted upgrade.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = {
    # `live` is 1 or NULL, so that the unique key allows one live version per name.
    "models": """
        CREATE TABLE IF NOT EXISTS models (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            name          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            version       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            digest        CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            preprocessing JSON NOT NULL,
            labels        JSON NOT NULL,
            live          TINYINT UNSIGNED NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            UNIQUE KEY name_version (name, version),
            UNIQUE KEY one_live (name, live)
        )""",
    # The control plane. A person may insert only (source), and update state and priority.
    "jobs": """
        CREATE TABLE IF NOT EXISTS jobs (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            source        VARCHAR(1200) NOT NULL,
            model         VARCHAR(97) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
            model_id      INT UNSIGNED NULL,
            state         ENUM('pending', 'running', 'paused', 'cancelled', 'done', 'failed')
                          NOT NULL DEFAULT 'pending',
            priority      INT NOT NULL DEFAULT 0,
            watch         BOOLEAN NOT NULL DEFAULT FALSE,
            watch_seconds INT UNSIGNED NOT NULL DEFAULT 60,
            repeats       INT UNSIGNED NOT NULL DEFAULT 1,
            message       VARCHAR(1000) NOT NULL DEFAULT '',
            rate          DOUBLE NOT NULL DEFAULT 0,
            rate_at       TIMESTAMP(3) NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            started       TIMESTAMP(3) NULL,
            finished      TIMESTAMP(3) NULL,
            KEY by_state (state, priority)
        )""",
    # The position of a job's listing: `key_cursor` is the last key of the current pass, `passes` counts finished ones.
    # After the last repeat `repeat_no` equals the job's `repeats`: no pass is in progress.
    "listings": """
        CREATE TABLE IF NOT EXISTS listings (
            job_id        INT UNSIGNED NOT NULL PRIMARY KEY,
            key_cursor    VARBINARY(1024) NOT NULL DEFAULT '',
            repeat_no     INT UNSIGNED NOT NULL DEFAULT 0,
            passes        INT UNSIGNED NOT NULL DEFAULT 0,
            complete      BOOLEAN NOT NULL DEFAULT FALSE,
            updated       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
        )""",
    # The source of truth. A key that changes gets a new row with the next generation; the old one is superseded.
    "objects": """
        CREATE TABLE IF NOT EXISTS objects (
            id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            job_id        INT UNSIGNED NOT NULL,
            object_key    VARBINARY(1024) NOT NULL,
            repeat_no     INT UNSIGNED NOT NULL DEFAULT 0,
            generation    INT UNSIGNED NOT NULL DEFAULT 0,
            etag          VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            size          BIGINT UNSIGNED NOT NULL,
            state         ENUM('pending', 'done', 'quarantined', 'superseded') NOT NULL DEFAULT 'pending',
            attempts      TINYINT UNSIGNED NOT NULL DEFAULT 0,
            reason        VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
            detail        VARCHAR(500) NULL,
            updated       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            UNIQUE KEY one_version (job_id, repeat_no, object_key, generation),
            KEY by_state (job_id, state, id)
        )""",
    # One row per object, the first one wins. No foreign key, so that rows can be on another shard or partition.
    "predictions": """
        CREATE TABLE IF NOT EXISTS predictions (
            object_id     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
            job_id        INT UNSIGNED NOT NULL,
            model_id      INT UNSIGNED NOT NULL,
            label         VARCHAR(128) NOT NULL,
            score         DOUBLE NOT NULL,
            top           JSON NOT NULL,
            sha256        BINARY(32) NOT NULL,
            consumer      VARCHAR(64) NOT NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
        )""",
    # A job's counts, in slots so that consumers don't queue for one row; their sum is the count.
    "counters": """
        CREATE TABLE IF NOT EXISTS counters (
            job_id        INT UNSIGNED NOT NULL,
            slot          TINYINT UNSIGNED NOT NULL,
            listed        BIGINT NOT NULL DEFAULT 0,
            done          BIGINT NOT NULL DEFAULT 0,
            quarantined   BIGINT NOT NULL DEFAULT 0,
            superseded    BIGINT NOT NULL DEFAULT 0,
            PRIMARY KEY (job_id, slot)
        )""",
    # People's feedback on predictions.
    "feedback": """
        CREATE TABLE IF NOT EXISTS feedback (
            id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            object_id     BIGINT UNSIGNED NOT NULL,
            label         VARCHAR(128) NOT NULL,
            author        VARCHAR(64) NOT NULL DEFAULT '',
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            KEY by_object (object_id)
        )""",
}

# A key is bytes. MySQL returns NULL for invalid UTF-8, MariaDB replaces each invalid byte by ?.
URL = """CONCAT(
            CASE WHEN j.source LIKE 's3://%%'
                 THEN CONCAT(SUBSTRING_INDEX(j.source, '/', 3), '/')
                 ELSE CONCAT(TRIM(TRAILING '/' FROM j.source), '/') END,
            COALESCE(CONVERT(o.object_key USING utf8mb4), CONCAT('0x', HEX(o.object_key))))"""

VIEWS = {
    "results": f"""
        CREATE OR REPLACE VIEW results AS
        SELECT {URL} AS url, p.label AS label, p.score AS score, CONCAT(m.name, '@', m.version) AS model,
               p.created AS predicted, o.job_id AS job, p.top AS top, p.object_id AS object_id
        FROM predictions p
        JOIN objects o ON o.id = p.object_id
        JOIN jobs j ON j.id = o.job_id
        JOIN models m ON m.id = p.model_id""",
    "job_progress": """
        CREATE OR REPLACE VIEW job_progress AS
        SELECT j.id AS job, j.source AS source, j.state AS state,
               COALESCE(c.listed, 0) AS listed,
               COALESCE(c.listed - c.done - c.quarantined - c.superseded, 0) AS pending,
               COALESCE(c.done, 0) AS done,
               COALESCE(c.quarantined, 0) AS quarantined,
               COALESCE(c.superseded, 0) AS superseded,
               COALESCE(l.complete, FALSE) AS listing_complete,
               CASE WHEN j.state = 'running' AND j.rate_at > CURRENT_TIMESTAMP(3) - INTERVAL 15 SECOND
                    THEN j.rate ELSE 0 END AS images_per_second,
               CASE WHEN j.state = 'running' AND j.rate > 0 AND j.rate_at > CURRENT_TIMESTAMP(3) - INTERVAL 15 SECOND
                    THEN (c.listed - c.done - c.quarantined - c.superseded) / j.rate END AS eta_seconds,
               j.message AS message
        FROM jobs j
        LEFT JOIN listings l ON l.job_id = j.id
        LEFT JOIN (SELECT job_id, SUM(listed) AS listed, SUM(done) AS done, SUM(quarantined) AS quarantined,
                          SUM(superseded) AS superseded
                   FROM counters GROUP BY job_id) c ON c.job_id = j.id""",
    "images": f"""
        CREATE OR REPLACE VIEW images AS
        SELECT {URL} AS url, CASE WHEN o.state = 'pending' THEN NULL ELSE o.updated END AS process_date,
               o.state = 'done' AS flag, o.state AS state, o.reason AS reason, o.job_id AS job, o.id AS object_id
        FROM objects o
        JOIN jobs j ON j.id = o.job_id""",
}


def upgrade() -> None:
    """Create the tables, then the views."""
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    for view in VIEWS.values():
        op.execute(view.replace("%%", "%"))


def downgrade() -> None:
    """Drop everything, including rows."""
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW IF EXISTS {view}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")
