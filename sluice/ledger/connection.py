"""One connection to the database, and transactions on it that survive deadlocks, restarts and outages.

A transaction may have been committed although its answer was lost, so whatever `run` is given must have the same effect
when it is done twice. The ledger's functions all do.
"""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CR, ER
from pymysql.cursors import DictCursor

from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable
from sluice.settings import Settings
from sluice.telemetry import metrics

T = TypeVar("T")

SLOTS: Final = 16
LOCK_IDLE_SECONDS: Final = 30
CONTENDED_TRIES: Final = 20
FIRST_WAIT: Final = 0.02
LONGEST_WAIT: Final = 1.0

CONTENDED: Final = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, ER.CHECKREAD})
SCHEMA: Final = frozenset({ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.BAD_DB_ERROR})
REFUSED: Final = frozenset({ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, 1698, 1251, 2059})
NOT_NOW: Final = frozenset(
    {
        CR.CR_CONN_HOST_ERROR,
        CR.CR_CONNECTION_ERROR,
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        CR.CR_MALFORMED_PACKET,
        ER.CON_COUNT_ERROR,
        ER.SERVER_SHUTDOWN,
        ER.DISK_FULL,
        ER.RECORD_FILE_FULL,
        ER.OPTION_PREVENTS_STATEMENT,
        ER.QUERY_INTERRUPTED,
        ER.ERROR_ON_WRITE,
        ER.TOO_MANY_USER_CONNECTIONS,
        ER.USER_LIMIT_REACHED,
        1836,  # read-only mode
        1927,  # connection was killed
        3169,  # session was killed
        4031,  # disconnected for inactivity
    }
)


class LockLost(LedgerError):
    """Raised when the connection that held a lock was lost: another process may own what the lock stood for."""


class Cursor(DictCursor):
    """What the ledger's functions are given: rows come as dictionaries, counters go to this connection's slot."""

    slot: int = 0


class Database:
    """One connection with one owner; it is opened at the first use. Each thread or task that writes makes its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = connect_options(settings)
        self._connection: pymysql.Connection[Cursor] | None = None
        self._locks: set[str] = set()
        self._slot = random.randrange(SLOTS)  # noqa: S311 - spreads load, guards nothing

    def __enter__(self) -> Self:
        """Give the database itself; leaving closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; its locks go with it."""
        self._drop()
        self._locks.clear()

    def run(self, work: Callable[[Cursor], T]) -> T:
        """Do `work` in one transaction; retry what may pass, give up with LedgerUnavailable after the patience."""
        deadline = time.monotonic() + self._settings.database_patience
        tries = 0
        while True:
            try:
                return self._once(work)
            except (pymysql.MySQLError, OSError) as error:
                tries += 1
                cause = self._classify(error, tries)
                if self._locks and self._connection is None:
                    names = ", ".join(sorted(self._locks))
                    self._locks.clear()
                    raise LockLost(f"the connection that held {names} was lost ({describe(error)})") from error
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                if time.monotonic() + wait > deadline:
                    raise LedgerUnavailable(
                        f"the database gave no answer for {self._settings.database_patience:g} s ({describe(error)}): "
                        "is it running, and does SLUICE_DATABASE_URL name it?"
                    ) from error
                metrics.LEDGER_RETRIES.labels(cause=cause).inc()
                time.sleep(wait)

    def hold_lock(self, name: str) -> bool:
        """Take a lock that lasts as long as this connection; say whether it is ours."""
        held = self.run(lambda cursor: _take_lock(cursor, name))
        if held:
            self._locks.add(name)
        return held

    def _once(self, work: Callable[[Cursor], T]) -> T:
        connection = self._connection or self._open()
        connection.begin()
        try:
            with connection.cursor() as cursor:
                cursor.slot = self._slot
                result = work(cursor)
            connection.commit()
        except BaseException:
            # Whatever it was, the transaction must not stay open; a connection that can't roll back is no good.
            try:
                connection.rollback()
            except (pymysql.MySQLError, OSError):
                self._drop()
            raise
        return result

    def _open(self) -> pymysql.Connection[Cursor]:
        connection: pymysql.Connection[Cursor] = pymysql.connect(**self._options)
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _classify(self, error: Exception, tries: int) -> str:
        """Name the cause of a retry; raise what no retry mends. Drops the connection unless it is still good."""
        code = error.args[0] if isinstance(error, pymysql.MySQLError) and error.args else None
        if code in CONTENDED:
            if tries >= CONTENDED_TRIES:
                raise LedgerUnavailable(f"the database was busy {tries} times in a row ({describe(error)})") from error
            return "contention"
        if code in SCHEMA:
            raise LedgerError(
                f"the database has no such table or column ({describe(error)}): run `sluice db upgrade`"
            ) from error
        if code in REFUSED:
            raise ConfigurationError(
                f"the database refuses the user ({describe(error)}): correct SLUICE_DATABASE_URL or its password"
            ) from error
        if code in NOT_NOW or isinstance(error, OSError | pymysql.err.InterfaceError):
            self._drop()
            return "unavailable"
        raise LedgerError(f"the database refused a statement ({describe(error)})") from error


def describe(error: BaseException) -> str:
    """Say what the driver said, in one line."""
    parts = [str(part) for part in error.args] or [type(error).__name__]
    return ": ".join(parts).replace("\n", " ")


def connect_options(settings: Settings) -> dict[str, Any]:
    """Give pymysql's arguments for the database that the settings name."""
    url = urlsplit(settings.database_url.get_secret_value())
    if url.scheme not in {"mysql", "mariadb"} or not url.hostname or len(url.path) <= 1:
        raise ConfigurationError("SLUICE_DATABASE_URL can't be read: expected mysql://user:password@host:port/database")
    password = unquote(url.password or "")
    if settings.database_password is not None:
        password = settings.database_password.get_secret_value()
    options: dict[str, Any] = {
        "host": url.hostname,
        "port": url.port or 3306,
        "user": unquote(url.username or ""),
        "password": password,
        "database": unquote(url.path[1:]),
        "charset": "utf8mb4",
        "autocommit": False,
        "cursorclass": Cursor,
        "connect_timeout": max(1, round(settings.database_timeout)),
        "read_timeout": settings.database_timeout,
        "write_timeout": settings.database_timeout,
        "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    }
    if settings.database_ca is not None:
        options["ssl"] = ssl.create_default_context(cafile=str(settings.database_ca))
    return options


def _take_lock(cursor: Cursor, name: str) -> bool:
    # A node that dies without closing its connection must not keep the lock for the server's usual eight hours.
    cursor.execute("SET SESSION wait_timeout = %s", (LOCK_IDLE_SECONDS,))
    cursor.execute("SELECT GET_LOCK(CONCAT(DATABASE(), '.', %s), 0) AS got", (name,))
    row = cursor.fetchone()
    return bool(row and row["got"] == 1)
