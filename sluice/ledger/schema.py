"""Bring the database's tables up or down with the migrations that stand beside the package."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import Engine

from sluice.errors import LedgerUnavailable
from sluice.ledger.connection import Database, connect_options
from sluice.settings import Settings

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
LOCK: Final = "sluice.migrations"
LOCK_TRIES: Final = 240
LOCK_WAIT: Final = 0.5


def upgrade(settings: Settings, revision: str = "head") -> None:
    """Bring the tables to a revision; waits for a database that is starting, and for another upgrade."""
    with _locked(settings):
        _alembic(settings, lambda config: command.upgrade(config, revision))


def downgrade(settings: Settings, revision: str) -> None:
    """Take the tables back to a revision ('base': none is left, nor any row)."""
    with _locked(settings):
        _alembic(settings, lambda config: command.downgrade(config, revision))


def current(settings: Settings) -> tuple[str | None, str | None]:
    """Give the database's revision and the newest there is."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    engine = _engine(settings)
    with Database(settings) as database:
        database.run(lambda cursor: cursor.execute("SELECT 1"))
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision(), head


def _locked(settings: Settings) -> Database:
    """Give a connection that holds the migration lock until it is closed."""
    database = Database(settings)
    for _ in range(LOCK_TRIES):
        if database.hold_lock(LOCK):
            return database
        time.sleep(LOCK_WAIT)
    database.close()
    raise LedgerUnavailable(f"another `sluice db` has been at work for {LOCK_TRIES * LOCK_WAIT:g} s: wait for its end")


def _engine(settings: Settings) -> Engine:
    options = connect_options(settings)
    # Alembic talks through SQLAlchemy, whose own cursors are expected.
    del options["cursorclass"], options["init_command"]
    return create_engine("mysql+pymysql://", connect_args=options, poolclass=pool.NullPool)


def _alembic(settings: Settings, work: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _engine(settings).connect() as connection:
        config.attributes["connection"] = connection
        work(config)
        connection.commit()
