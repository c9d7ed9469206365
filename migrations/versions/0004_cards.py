"""A model's card, and models that are retired.

Both columns may be empty and are only added, which the server does without touching a row; processes of the release
before name neither, and work on as before. `card` is what a model's archive says of it beside what the row has columns
for (name, version, digest, preprocessing, labels). `retired` is when somebody said that no new job may ask for it.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = {"card": "JSON NULL", "retired": "TIMESTAMP(3) NULL"}


def upgrade() -> None:
    """Add the columns; each step can be repeated where an upgrade was cut off."""
    for column, kind in COLUMNS.items():
        if not _has(column):
            op.execute(f"ALTER TABLE models ADD COLUMN {column} {kind}")


def downgrade() -> None:
    """Drop them with what they hold: archives still have their cards, and retired versions are no longer so."""
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
