"""Trainings: rows that ask for a new version of a model, the labels that some of them bring, and their progress.

Tables and a view are only added; processes of the release before know nothing of them, and work on as before.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = {
    # A person may insert only (name, source), and update state. `beat` is when the trainer that has the row was last
    # heard of, `deaths` how many trainers were lost since the last one came further. `findings` is what was found in
    # the pictures, `model_id` what came of it.
    "trainings": """
        CREATE TABLE IF NOT EXISTS trainings (
            id            INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            name          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
            version       VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
            source        VARCHAR(1200) NOT NULL DEFAULT '',
            test          VARCHAR(1200) NOT NULL DEFAULT '',
            corrections   BOOLEAN NOT NULL DEFAULT FALSE,
            base          VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'efficientnet-lite0',
            fine_tune     BOOLEAN NOT NULL DEFAULT FALSE,
            seed          INT UNSIGNED NOT NULL DEFAULT 1,
            made_by       VARCHAR(64) NOT NULL DEFAULT '',
            state         ENUM('pending', 'running', 'done', 'failed', 'cancelled') NOT NULL DEFAULT 'pending',
            message       VARCHAR(1000) NOT NULL DEFAULT '',
            stage         VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
            done          INT UNSIGNED NOT NULL DEFAULT 0,
            total         INT UNSIGNED NOT NULL DEFAULT 0,
            eta_seconds   DOUBLE NULL,
            trainer       VARCHAR(64) NOT NULL DEFAULT '',
            beat          TIMESTAMP(3) NULL,
            deaths        TINYINT UNSIGNED NOT NULL DEFAULT 0,
            findings      JSON NULL,
            model_id      INT UNSIGNED NULL,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            started       TIMESTAMP(3) NULL,
            finished      TIMESTAMP(3) NULL,
            KEY by_state (state, id),
            KEY by_name (name, version)
        )""",
    # Labels that no folder names: from a CSV on somebody's machine, or from SQL.
    "training_labels": """
        CREATE TABLE IF NOT EXISTS training_labels (
            id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            training_id   INT UNSIGNED NOT NULL,
            url           VARCHAR(2400) NOT NULL,
            label         VARCHAR(128) NOT NULL,
            KEY by_training (training_id, id)
        )""",
}

VIEW = """
    CREATE OR REPLACE VIEW training_progress AS
    SELECT id AS training, CONCAT(name, IF(version = '', '', CONCAT('@', version))) AS model, state, stage, done, total,
           CASE WHEN state = 'running' THEN eta_seconds END AS eta_seconds, message
    FROM trainings"""


def upgrade() -> None:
    """Create the tables and the view; each step can be repeated where an upgrade was cut off."""
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    op.execute(VIEW)


def downgrade() -> None:
    """Drop them with their rows; the models that came of trainings stay, in the store and in `models`."""
    op.execute("DROP VIEW IF EXISTS training_progress")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")
