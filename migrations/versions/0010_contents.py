"""Smaller indexes by content: eight bytes of a picture's SHA-256 find it as well as all thirty-two.

Of a billion pictures hardly two have the same eight bytes, and the whole digest is in the row that is read then, so
answers are the same. The indexes keep their name, which processes of every release give as a hint. The server builds
the new one beside the old one while others read and write, then drops that: as long as reading the table takes.
"""

from __future__ import annotations

from typing import Final

from alembic import op
from sqlalchemy import text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES: Final = ("predictions", "trial_predictions")
BYTES: Final = 8


def upgrade() -> None:
    """Build the smaller indexes; each can be repeated where an upgrade was cut off."""
    for table in TABLES:
        if _bytes_of(table) != BYTES:
            op.execute(f"ALTER TABLE {table} DROP INDEX by_content, ADD INDEX by_content (sha256({BYTES}), model_id)")


def downgrade() -> None:
    """Build the ones of whole digests again; no row is touched."""
    for table in TABLES:
        if _bytes_of(table) is not None:
            op.execute(f"ALTER TABLE {table} DROP INDEX by_content, ADD INDEX by_content (sha256, model_id)")


def _bytes_of(table: str) -> int | None:
    """Return how many bytes of the digest the index has; None: all."""
    statement = text(
        "SELECT sub_part FROM information_schema.statistics WHERE table_schema = DATABASE() "
        "AND table_name = :table AND index_name = 'by_content' AND column_name = 'sha256'"
    )
    found = op.get_bind().execute(statement, {"table": table}).scalar()
    return None if found is None else int(found)
