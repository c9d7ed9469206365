"""Published models, and which TorchServe serves which: what the agents beside TorchServe follow, and what they tell.

Everything is added; processes of the release before use none of it. `models` gets columns that may be empty, which the
server adds without touching a row: `archive_sha256` and `archive_bytes` of an archive in the model store (empty: the
model is in TorchServe's image or was put there by hand), and `failed`, why no TorchServe can load it. `servers` has a
row for each TorchServe with an agent, `servings` one for each version that it has or is loading. They are the agents'
own words of the moment: a downgrade drops them, and the next upgrade's agents write them again.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = {
    "archive_sha256": "CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL",
    "archive_bytes": "BIGINT UNSIGNED NULL",
    "failed": "VARCHAR(1000) NULL",
}
TABLES = {
    # `seen` is written every two seconds while the agent lives.
    "servers": """
        CREATE TABLE IF NOT EXISTS servers (
            name          VARCHAR(64) NOT NULL PRIMARY KEY,
            seen          TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            message       VARCHAR(1000) NOT NULL DEFAULT ''
        )""",
    "servings": """
        CREATE TABLE IF NOT EXISTS servings (
            server        VARCHAR(64) NOT NULL,
            model_id      INT UNSIGNED NOT NULL,
            state         ENUM('loading', 'served', 'failed') NOT NULL,
            message       VARCHAR(1000) NOT NULL DEFAULT '',
            changed       TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
            PRIMARY KEY (server, model_id),
            KEY by_model (model_id)
        )""",
}
# The seconds are those of sluice/ledger/serving.py.
LIVING = "SELECT name FROM servers WHERE seen > CURRENT_TIMESTAMP(3) - INTERVAL 15 SECOND"
VIEW = f"""
    CREATE OR REPLACE VIEW model_versions AS
    SELECT CONCAT(m.name, '@', m.version) AS model,
           CASE WHEN m.live = 1 THEN 'live' WHEN m.retired IS NOT NULL THEN 'retired'
                WHEN m.failed IS NOT NULL THEN 'failed' WHEN m.archive_sha256 IS NULL THEN 'registered'
                WHEN s.served = l.living THEN 'served' ELSE 'published' END AS state,
           COALESCE(s.served, 0) AS served, l.living AS servers, COALESCE(m.failed, s.message, '') AS message,
           m.created AS created, m.id AS model_id
    FROM models m
    CROSS JOIN (SELECT COUNT(*) AS living FROM ({LIVING}) n) l
    LEFT JOIN (SELECT g.model_id AS model_id, SUM(g.state = 'served') AS served,
                      MAX(CASE WHEN g.message <> '' THEN CONCAT(g.server, ': ', g.message) END) AS message
               FROM servings g JOIN ({LIVING}) n ON n.name = g.server GROUP BY g.model_id) s ON s.model_id = m.id"""


def upgrade() -> None:
    """Add columns, tables and the view; each step can be repeated where an upgrade was cut off."""
    for column, kind in COLUMNS.items():
        if not _has(column):
            op.execute(f"ALTER TABLE models ADD COLUMN {column} {kind}")
    for table in TABLES.values():
        op.execute(f"{table} ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC")
    op.execute(VIEW)


def downgrade() -> None:
    """Drop them: archives stay in the model store, and publishing one again makes its row again."""
    op.execute("DROP VIEW IF EXISTS model_versions")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE IF EXISTS {table}")
    for column in reversed(COLUMNS):
        if _has(column):
            op.execute(f"ALTER TABLE models DROP COLUMN {column}")


def _has(column: str) -> bool:
    """Return whether an upgrade that was cut off came so far; MySQL has no ADD COLUMN IF NOT EXISTS."""
    asked = "table_schema = DATABASE() AND table_name = 'models' AND column_name = :name"
    found = op.get_bind().execute(
        text(f"SELECT COUNT(*) FROM information_schema.columns WHERE {asked}"), {"name": column}
    )
    return bool(found.scalar())
