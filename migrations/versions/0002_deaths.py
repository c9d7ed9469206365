"""Deaths are called so: `objects.attempts`, which counts the consumers that died with an object, becomes `deaths`.

Processes of the release before know `attempts` alone, and they run while the tables change and after it. So the new
name comes first as an alias, a generated column, which is right at every moment whoever writes; the rename itself comes
when nobody who needs the old name is left:

1. This migration: `deaths` can be read in SQL; the number is still stored, and written, as `attempts`. Each connection
   of this release's processes looks up which name is the stored one (sluice/ledger/columns.py).
2. The release after, 0004: `ALTER TABLE objects DROP COLUMN deaths`, then `ALTER TABLE objects RENAME COLUMN attempts
   TO deaths`; two statements, since the server would copy the table to do both in one. Between them the tables are as
   at 0001, and after them this release's processes find the new name by themselves.
3. The release after that: sluice/ledger/columns.py goes.

No statement of these touches a row: each changes the server's dictionary alone (ALGORITHM=INSTANT, which the server
takes by itself), however large the table is. A second column that is written beside the first would have to be filled,
and would be wrong wherever a process of the release before writes after that.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `deaths` as another name of `attempts`."""
    if not _has_deaths():
        op.execute("ALTER TABLE objects ADD COLUMN deaths TINYINT UNSIGNED AS (attempts) VIRTUAL")


def downgrade() -> None:
    """Take the second name away; nothing is lost."""
    if _has_deaths():
        op.execute("ALTER TABLE objects DROP COLUMN deaths")


def _has_deaths() -> bool:
    """Return whether an upgrade that was cut off came so far; MySQL has no ADD COLUMN IF NOT EXISTS."""
    asked = "table_schema = DATABASE() AND table_name = 'objects' AND column_name = 'deaths'"
    found = op.get_bind().execute(text(f"SELECT COUNT(*) FROM information_schema.columns WHERE {asked}"))
    return bool(found.scalar())
