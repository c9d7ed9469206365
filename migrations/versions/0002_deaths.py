"""Adds the name `deaths` for `objects.attempts`, which counts the consumers that died with an object.

Processes of the previous release only know `attempts`, and they run while the tables change and afterwards. So the new
name is first added as an alias, a generated column, which is always right whoever writes. The rename follows when no
process needs the old name any more:

1. This migration: `deaths` can be read in SQL; the number is still stored in, and written to, `attempts`. Each
   connection of this release looks up which name is the stored one (sluice/ledger/columns.py).
2. The next release: `ALTER TABLE objects DROP COLUMN deaths`, then `ALTER TABLE objects RENAME COLUMN attempts
   TO deaths`; two statements, because the server would copy the table to do both in one. Between them the tables are
   as at 0001, and after them this release's processes find the new name by themselves.
3. The release after that: sluice/ledger/columns.py is deleted.

No statement changes a row: each only changes the server's dictionary (ALGORITHM=INSTANT, which the server chooses by
itself), however large the table is. A second column that is written in addition to the first would have to be filled,
and would be wrong wherever a process of the previous release writes afterwards.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `deaths` as an alias of `attempts`."""
    if not _has_deaths():
        op.execute("ALTER TABLE objects ADD COLUMN deaths TINYINT UNSIGNED AS (attempts) VIRTUAL")


def downgrade() -> None:
    """Drop the alias; nothing is lost."""
    if _has_deaths():
        op.execute("ALTER TABLE objects DROP COLUMN deaths")


def _has_deaths() -> bool:
    """Return whether an interrupted upgrade got this far; MySQL has no ADD COLUMN IF NOT EXISTS."""
    asked = "table_schema = DATABASE() AND table_name = 'objects' AND column_name = 'deaths'"
    found = op.get_bind().execute(text(f"SELECT COUNT(*) FROM information_schema.columns WHERE {asked}"))
    return bool(found.scalar())
