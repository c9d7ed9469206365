"""Drift: what commits measured of their pictures, counts a day, windows of a model, and the references beside them.

Tables and a view are only added. Processes of the release before write no tallies: their predictions aren't counted.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATISTIC = "VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
TABLES = {
    # Only inserted by commits, and deleted as soon as they are counted, so that no two commits wait for each other.
    "tallies": """
        CREATE TABLE IF NOT EXISTS tallies (
            id            BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
            model_id      INT UNSIGNED NOT NULL,
            job_id        INT UNSIGNED NOT NULL,
            pictures      JSON NOT NULL,
            undecodable    INT UNSIGNED NOT NULL DEFAULT 0,
            created       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            KEY by_model (model_id, id)
        )""",
    # `counts` has the statistics that are known by now; windows up to `after_window` were compared with an earlier
    # reference; `promoted` is when the version first became live.
    "drift_references": """
        CREATE TABLE IF NOT EXISTS drift_references (
            model_id      INT UNSIGNED NOT NULL PRIMARY KEY,
            state         ENUM('collecting', 'frozen') NOT NULL DEFAULT 'collecting',
            counts        JSON NOT NULL,
            pictures_from INT UNSIGNED NULL,
            window_no     INT UNSIGNED NULL,
            after_window  INT UNSIGNED NOT NULL DEFAULT 0,
            promoted      TIMESTAMP(3) NULL,
            frozen        TIMESTAMP(3) NULL
        )""",
    # `sample` has some pictures of the window with what was measured of them; kept where there is an alarm.
    "drift_windows": """
        CREATE TABLE IF NOT EXISTS drift_windows (
            model_id      INT UNSIGNED NOT NULL,
            window_no     INT UNSIGNED NOT NULL,
            state         ENUM('open', 'reference', 'calm', 'alarm') NOT NULL DEFAULT 'open',
            pictures      INT UNSIGNED NOT NULL DEFAULT 0,
            counts        JSON NOT NULL,
            sample        JSON NOT NULL,
            reports_after BIGINT UNSIGNED NOT NULL DEFAULT 0,
            begun         TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            ended         TIMESTAMP(3) NULL,
            PRIMARY KEY (model_id, window_no),
            KEY by_state (model_id, state, window_no)
        )""",
    "drift_findings": f"""
        CREATE TABLE IF NOT EXISTS drift_findings (
            model_id      INT UNSIGNED NOT NULL,
            window_no     INT UNSIGNED NOT NULL,
            statistic     {STATISTIC},
            psi           DOUBLE NOT NULL,
            beyond        DOUBLE NOT NULL,
            before_value  DOUBLE NULL,
            now_value     DOUBLE NULL,
            pictures      INT UNSIGNED NOT NULL,
            alarm         BOOLEAN NOT NULL,
            moved         VARCHAR(1000) NOT NULL DEFAULT '',
            PRIMARY KEY (model_id, window_no, statistic)
        )""",
    "label_days": """
        CREATE TABLE IF NOT EXISTS label_days (
            model_id      INT UNSIGNED NOT NULL,
            day           DATE NOT NULL,
            label         VARCHAR(128) NOT NULL,
            score_bucket  TINYINT UNSIGNED NOT NULL,
            pictures      BIGINT UNSIGNED NOT NULL DEFAULT 0,
            PRIMARY KEY (model_id, day, label, score_bucket)
        )""",
    "picture_days": f"""
        CREATE TABLE IF NOT EXISTS picture_days (
            model_id      INT UNSIGNED NOT NULL,
            day           DATE NOT NULL,
            statistic     {STATISTIC},
            bucket        TINYINT UNSIGNED NOT NULL,
            pictures      BIGINT UNSIGNED NOT NULL DEFAULT 0,
            total         DOUBLE NOT NULL DEFAULT 0,
            PRIMARY KEY (model_id, day, statistic, bucket)
        )""",
}

VIEW = """
    CREATE OR REPLACE VIEW drift AS
    SELECT CONCAT(m.name, '@', m.version) AS model, f.statistic AS statistic,
           CASE WHEN f.alarm = 1 THEN 'alarm' WHEN f.statistic IS NULL THEN 'collecting' ELSE 'calm' END AS state,
           f.psi AS psi, f.beyond AS beyond, f.before_value AS before_value, f.now_value AS now_value,
           COALESCE(f.moved, '') AS moved, w.window_no AS window_no, w.pictures AS pictures, w.ended AS ended,
           r.state AS reference, m.live = 1 AS live, r.model_id AS model_id
    FROM drift_references r
    JOIN models m ON m.id = r.model_id
    LEFT JOIN drift_windows w ON w.model_id = r.model_id AND w.window_no = (
        SELECT MAX(x.window_no) FROM drift_windows x WHERE x.model_id = r.model_id AND x.state <> 'open'
        AND x.window_no > r.after_window)
    LEFT JOIN drift_findings f ON f.model_id = w.model_id AND f.window_no = w.window_no"""


def upgrade() -> None:
    """Create the tables and the view; each step can be repeated where an upgrade was cut off."""
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    op.execute(VIEW)


def downgrade() -> None:
    """Drop them with their rows: what was noticed is forgotten, and references are collected anew after an upgrade."""
    op.execute("DROP VIEW IF EXISTS drift")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")
