"""Upgrades or downgrades the tables with the migrations that are installed next to the package."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.exc import DBAPIError

from sluice.backoff import Backoff
from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable
from sluice.ledger.connection import GET_LOCK, Database, connect_options, lock_wait_seconds
from sluice.ledger.encryption import open_connection
from sluice.ledger.faults import LOCKED, cause_of, code_of, describe
from sluice.settings import Settings

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
REVISION: Final = re.compile(r"\d{4}")
LOCK: Final = "migrations"
LOCK_WAIT_SECONDS: Final = 120
IN_USE_SECONDS: Final = 60.0
"""How long to retry a change of a table that somebody's transaction is using."""
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 4.0
"""Between two tries, so that other statements get through; shorter than IDLE_SECONDS."""


def upgrade(settings: Settings, revision: str = "head", *, in_use_seconds: float = IN_USE_SECONDS) -> None:
    """Bring the tables to a revision; waits for a database that is starting, and for another upgrade.

    DDL isn't transactional, so each migration can be run again after an interruption. Tables of a newer version are
    left unchanged: this version works on them.
    """

    def work(config: Config) -> None:
        found = MigrationContext.configure(config.attributes["connection"]).get_current_revision()
        if revision != "head" or not is_newer(found):
            command.upgrade(config, revision)

    _alembic(settings, work, in_use_seconds)


def downgrade(settings: Settings, revision: str) -> None:
    """Downgrade the tables to a revision ('base' deletes all tables and rows)."""
    _alembic(settings, lambda config: command.downgrade(config, revision))


def current(settings: Settings) -> tuple[str | None, str | None]:
    """Return the database's revision and the newest one that this version knows."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with _connected(settings) as connection:
        return MigrationContext.configure(connection).get_current_revision(), newest


def is_newer(revision: str | None) -> bool:
    """Return whether only a newer version of Sluice knows a database's revision."""
    script = ScriptDirectory(str(MIGRATIONS))
    known = {each.revision for each in script.walk_revisions()}
    if revision is None or revision in known:
        return False
    if REVISION.fullmatch(revision) and revision > max(known):
        return True
    raise ConfigurationError(
        f"the tables are at revision {revision!r}, which is none of Sluice's: correct SLUICE_DATABASE_URL"
    )


def _alembic(settings: Settings, work: Callable[[Config], None], in_use_seconds: float = IN_USE_SECONDS) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _connected(settings) as connection:
        # The connection that changes the tables holds the lock, so it can't lose the lock and continue.
        if not connection.exec_driver_sql(GET_LOCK, (LOCK, LOCK_WAIT_SECONDS)).scalar():
            raise LedgerUnavailable(f"another `sluice db` has been at work for {LOCK_WAIT_SECONDS} s: wait for its end")
        connection.commit()
        config.attributes["connection"] = connection
        try:
            _when_unused(connection, lambda: work(config), in_use_seconds)
        except CommandError as error:
            raise ConfigurationError(f"{error}: `sluice db current` shows the revisions there are") from error
        connection.commit()


def _when_unused(connection: Connection, work: Callable[[], object], seconds: float = IN_USE_SECONDS) -> None:
    """Run DDL; retry for `seconds` while another transaction uses a table.

    DDL waits for every transaction that has used the table, and later statements queue behind it. So it waits only as
    long as processes wait for a row, then lets them through.
    """
    deadline = time.monotonic() + seconds
    pauses = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        try:
            work()
        except DBAPIError as error:
            if not isinstance(error.orig, Exception) or code_of(error.orig) not in LOCKED:
                raise
            connection.rollback()
            if time.monotonic() > deadline:
                raise LedgerUnavailable(
                    f"a transaction has had a table in use for {seconds:g} s: end it (SHOW FULL PROCESSLIST "
                    "lists the connections), then do it again"
                ) from error
        else:
            return
        time.sleep(pauses.next())


@contextmanager
def _connected(settings: Settings) -> Iterator[Connection]:
    """Return the SQLAlchemy connection that alembic needs; its errors are converted to the ledger's."""
    with Database(settings) as database:
        database.run(lambda cursor: cursor.execute("SELECT 1"))
    options = connect_options(settings)
    # SQLAlchemy expects plain cursors, and changing a large table takes long.
    del options["cursorclass"], options["read_timeout"]
    engine = create_engine("mysql+pymysql://", creator=lambda: open_connection(options), poolclass=pool.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = %s", (lock_wait_seconds(settings),))
            yield connection
    except DBAPIError as error:
        cause = cause_of(error.orig) if isinstance(error.orig, Exception) else "unavailable"
        raise (LedgerUnavailable if cause == "unavailable" else LedgerError)(
            f"the database ended it halfway ({describe(error.orig or error)}): do it again"
        ) from error
