"""The gateway's tables: people and sign-ins, owners of jobs and pictures, and state that its replicas share.

Everything is added: processes of the previous release don't use it, so they continue to work. Three steps change what
exists. Views show the right url for members of archives in folders. `feedback` gets columns with defaults, which the
server adds without touching a row. `predictions` gets two indexes, for pages of results that filter by label or sort by
score; the server builds them while others read and write, which takes as long as reading the table.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = {
    # `password` is an argon2id hash, NULL for people who sign in elsewhere; `subject` is "issuer subject" of OIDC.
    "users": """
        CREATE TABLE IF NOT EXISTS users (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            name          VARCHAR(50) NOT NULL,
            email         VARCHAR(254) NOT NULL,
            password      VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
            role          ENUM('viewer', 'user', 'admin') NOT NULL DEFAULT 'user',
            active        BOOLEAN NOT NULL DEFAULT TRUE,
            subject       VARCHAR(512) NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            UNIQUE KEY one_email (email),
            UNIQUE KEY one_subject (subject)
        )""",
    # `id` is the SHA-256 of the cookie's value, so reading this table gives nobody a session.
    "sessions": """
        CREATE TABLE IF NOT EXISTS sessions (
            id            BINARY(32) NOT NULL PRIMARY KEY,
            user_id       INT UNSIGNED NOT NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            expires       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            KEY by_user (user_id),
            KEY by_expiry (expires)
        )""",
    # Personal tokens, as digests.
    "tokens": """
        CREATE TABLE IF NOT EXISTS tokens (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            user_id       INT UNSIGNED NOT NULL,
            name          VARCHAR(100) NOT NULL,
            digest        BINARY(32) NOT NULL,
            expires       TIMESTAMP(3) NULL,
            used          TIMESTAMP(3) NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            UNIQUE KEY one_digest (digest),
            KEY by_user (user_id)
        )""",
    # Failed sign-ins by account and by address, as SHA-256; rows are obsolete after `until`.
    "failed_logins": """
        CREATE TABLE IF NOT EXISTS failed_logins (
            subject       BINARY(32) NOT NULL PRIMARY KEY,
            failures      INT UNSIGNED NOT NULL DEFAULT 0,
            until         TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            KEY by_end (until)
        )""",
    # Owners of jobs. A job without a row here was made by command line or SQL.
    "job_owners": """
        CREATE TABLE IF NOT EXISTS job_owners (
            job_id        INT UNSIGNED NOT NULL PRIMARY KEY,
            user_id       INT UNSIGNED NOT NULL,
            KEY by_user (user_id, job_id)
        )""",
    # Standing jobs of dropped pictures, one per person and model version; user 0: people who aren't signed in.
    "standing_jobs": """
        CREATE TABLE IF NOT EXISTS standing_jobs (
            user_id       INT UNSIGNED NOT NULL,
            model_id      INT UNSIGNED NOT NULL,
            job_id        INT UNSIGNED NOT NULL,
            PRIMARY KEY (user_id, model_id),
            KEY by_job (job_id)
        )""",
    # Names of dropped pictures. `removed`: when the picture was deleted; its object and prediction stay.
    "pictures": """
        CREATE TABLE IF NOT EXISTS pictures (
            object_id     BIGINT UNSIGNED NOT NULL PRIMARY KEY,
            user_id       INT UNSIGNED NOT NULL,
            name          VARCHAR(255) NOT NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            removed       TIMESTAMP(3) NULL,
            KEY by_user (user_id, object_id),
            KEY by_name (user_id, name, created)
        )""",
    # Answers by content, shared by all replicas.
    "answers": """
        CREATE TABLE IF NOT EXISTS answers (
            sha256        BINARY(32) NOT NULL,
            model_id      INT UNSIGNED NOT NULL,
            top           JSON NOT NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            PRIMARY KEY (sha256, model_id),
            KEY by_age (created)
        )""",
    # Uploaded archives and their jobs. `removed`: when the archive was deleted.
    "uploads": """
        CREATE TABLE IF NOT EXISTS uploads (
            id            CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
            user_id       INT UNSIGNED NOT NULL,
            name          VARCHAR(255) NOT NULL,
            object_key    VARBINARY(1024) NOT NULL,
            size          BIGINT UNSIGNED NOT NULL,
            job_id        INT UNSIGNED NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            removed       TIMESTAMP(3) NULL,
            KEY by_user (user_id, created),
            KEY by_name (user_id, name, created),
            KEY by_job (job_id)
        )""",
    # Answers to requests with an idempotency key, so that repeating them creates nothing. Without a status, the gateway
    # in `holder` is processing the request.
    "idempotency": """
        CREATE TABLE IF NOT EXISTS idempotency (
            user_id       INT UNSIGNED NOT NULL,
            request_key   BINARY(32) NOT NULL,
            request       BINARY(32) NOT NULL,
            holder        BINARY(16) NOT NULL,
            status        SMALLINT UNSIGNED NULL,
            body          MEDIUMBLOB NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            PRIMARY KEY (user_id, request_key),
            KEY by_age (created)
        )""",
}

# `object_id` is 0 in a report without an object.
FEEDBACK = {
    "user_id": "INT UNSIGNED NULL",
    "comment": "VARCHAR(1000) NOT NULL DEFAULT ''",
    "predicted": "VARCHAR(128) NOT NULL DEFAULT ''",
    "score": "DOUBLE NULL",
    "file_name": "VARCHAR(255) NOT NULL DEFAULT ''",
}

INDEXES = {
    ("feedback", "by_user"): "(user_id, id)",
    ("predictions", "by_label"): "(job_id, label, score)",
    ("predictions", "by_score"): "(job_id, score)",
}

# The keys of a job on one archive of a folder (file:///srv/x.zip) begin with the archive's own name (x.zip!/a.jpg). The
# source of a job on all archives below a folder ends in !/, which is no part of the path.
ARCHIVE = "CAST(SUBSTRING_INDEX(j.source, '/', -1) AS BINARY)"
URL = f"""CONCAT(
            CASE WHEN j.source LIKE 's3://%'
                 THEN CONCAT(SUBSTRING_INDEX(j.source, '/', 3), '/')
                 WHEN LOWER(RIGHT(j.source, 4)) IN ('.zip', '.tar')
                      AND (o.object_key = {ARCHIVE}
                           OR LEFT(o.object_key, LENGTH({ARCHIVE}) + 2) = CONCAT({ARCHIVE}, '!/'))
                 THEN LEFT(j.source, CHAR_LENGTH(j.source) - CHAR_LENGTH(SUBSTRING_INDEX(j.source, '/', -1)))
                 ELSE CONCAT(LEFT(j.source, 7),
                             TRIM(TRAILING '/' FROM TRIM(TRAILING '!/' FROM SUBSTRING(j.source, 8))), '/') END,
            COALESCE(CONVERT(o.object_key USING utf8mb4), CONCAT('0x', HEX(o.object_key))))"""

VIEWS = (
    f"""
        CREATE OR REPLACE VIEW results AS
        SELECT {URL} AS url, p.label AS label, p.score AS score, CONCAT(m.name, '@', m.version) AS model,
               p.created AS predicted, o.job_id AS job, p.top AS top, p.object_id AS object_id
        FROM predictions p
        JOIN objects o ON o.id = p.object_id
        JOIN jobs j ON j.id = o.job_id
        JOIN models m ON m.id = p.model_id""",
    f"""
        CREATE OR REPLACE VIEW images AS
        SELECT {URL} AS url, CASE WHEN o.state = 'pending' THEN NULL ELSE o.updated END AS process_date,
               o.state = 'done' AS flag, o.state AS state, o.reason AS reason, o.job_id AS job, o.id AS object_id
        FROM objects o
        JOIN jobs j ON j.id = o.job_id""",
)


def upgrade() -> None:
    """Create the tables, and extend older ones. Each step can be repeated after an interrupted upgrade."""
    for view in VIEWS:
        op.execute(view)
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    for column, kind in FEEDBACK.items():
        if not _has("columns", "feedback", "column_name", column):
            op.execute(f"ALTER TABLE feedback ADD COLUMN {column} {kind}")
    for (table, index), columns in INDEXES.items():
        if not _has("statistics", table, "index_name", index):
            op.execute(f"ALTER TABLE {table} ADD INDEX {index} {columns}")


def downgrade() -> None:
    """Drop everything that was added, including rows; jobs, objects, predictions and the views stay."""
    for table, index in reversed(INDEXES):
        if _has("statistics", table, "index_name", index):
            op.execute(f"ALTER TABLE {table} DROP INDEX {index}")
    for column in reversed(FEEDBACK):
        if _has("columns", "feedback", "column_name", column):
            op.execute(f"ALTER TABLE feedback DROP COLUMN {column}")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")


def _has(kind: str, table: str, column: str, name: str) -> bool:
    """Return whether a table has a column or an index; MySQL has no ADD COLUMN IF NOT EXISTS."""
    statement = text(
        f"SELECT COUNT(*) FROM information_schema.{kind} "
        f"WHERE table_schema = DATABASE() AND table_name = :table AND {column} = :name"
    )
    return bool(op.get_bind().execute(statement, {"table": table, "name": name}).scalar())
