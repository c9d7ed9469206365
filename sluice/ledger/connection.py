"""One connection to the database, and transactions on it that survive deadlocks, restarts and outages.

A transaction may have been committed although its answer was lost, so `run` must be given idempotent functions. All
functions of the ledger are.

job = database.run(jobs.submit, "s3://photos")    # calls jobs.submit(cursor, "s3://photos")
"""

from __future__ import annotations

import contextlib
import random
import ssl
import time
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT, ER
from pymysql.cursors import DictCursor

from sluice.backoff import wait_after
from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable, LockLost
from sluice.ledger.columns import DEATHS_COLUMN, RENAMED, KnownTables, find_tables
from sluice.ledger.encryption import open_connection
from sluice.ledger.faults import DISK_FULL, LOCKED, cause_of, code_of, describe, is_disk_full
from sluice.ledger.waits import LedgerObserver, NoObserver, lock_holder
from sluice.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

MYSQL_PORT: Final = 3306
UNREADABLE: Final = (
    "SLUICE_DATABASE_URL can't be used: expected mysql://user:password@host:port/database of a MySQL or MariaDB, "
    "with the user and the password %-encoded"
)
SLOTS: Final = 16
IDLE_SECONDS: Final = 15
"""The server closes a connection that is idle for so long, and frees its locks: its process may be frozen or gone."""
STALE_SECONDS: Final = 10.0
"""A connection that was idle for longer is replaced before the server closes it."""
LOCK_WAIT_SECONDS: Final = 3.0
"""Shorter than IDLE_SECONDS: a waiting transaction holds locks too, and should rather start again."""
CONTENDED_TRIES: Final = 20
FIRST_WAIT: Final = 0.02
LONGEST_WAIT: Final = 1.0
LONGEST_CONTENDED_WAIT: Final = 0.2

# The ledger relies on these, not on the server's defaults. The MariaDB part is a comment for MySQL: it prevents MariaDB
# from converting a long IN list to a subquery, which would lock rows in another order.
SESSION: Final = """
    SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = {lock_wait},
    wait_timeout = {idle}, net_read_timeout = {idle}, net_write_timeout = {idle}
    /*M!100508 , in_predicate_conversion_threshold = 0 */"""
ISOLATION: Final = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
# Locks are per server, and MySQL limits their names to 64 characters. Newer MySQLs have no MD5().
GET_LOCK: Final = "SELECT GET_LOCK(CONCAT('sluice.', LEFT(SHA2(CONCAT(DATABASE(), '.', %s), 256), 40)), %s) AS held"


class LedgerCursor(DictCursor):
    """The cursor for the ledger's functions: rows are dictionaries, counters go to this connection's slot."""

    slot: int = 0
    deaths_column: str = DEATHS_COLUMN
    """The name of the column with an object's deaths in these tables."""
    has_tallies: bool = False
    """Whether these tables have room for what commits measure."""
    memory: dict[str, Any]
    """Kept for all tries of one `run`: a retry finds here what an earlier try may have committed."""
    joins: bool = False
    """Whether this connection takes several statements at once."""
    _held: list[str | bytearray] | None = None
    """What is held back; executemany has its statements as bytes."""

    def hold_back(self) -> None:
        """Send what is executed from now on together with the COMMIT, so that it takes one way to the server and back.

        Only for statements whose outcome isn't looked at. If one fails, the server stops there, and commits nothing.
        """
        if self.joins and self._held is None:
            self._held = []

    def hold_still(self) -> None:
        """Begin a transaction that sees the rows as they are now, whatever others commit meanwhile."""
        self.execute("COMMIT")
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def execute(self, query: str, args: Any = None) -> int:  # noqa: ANN401 - as pymysql has it
        """Execute a statement, or hold it back; of one that is held back nothing is known yet."""
        if self._held is None:
            return super().execute(query, args)
        self._held.append(self.mogrify(query, args))
        return 0

    def commit(self) -> None:
        """End the transaction, with what was held back."""
        held, self._held = self._held, None
        if not held:
            self.connection.commit()
            return
        statements = [each if isinstance(each, str) else each.decode() for each in held]
        super().execute(";".join([*statements, "COMMIT"]))
        while self.nextset():
            pass


class Database:
    """One connection with one owner, opened at its first use. Each thread or task that writes has its own."""

    def __init__(
        self,
        settings: Settings,
        observer: LedgerObserver | None = None,
        *,
        stale_seconds: float = STALE_SECONDS,
        joins: bool = False,
    ) -> None:
        """`joins`: take several statements at once, see LedgerCursor.hold_back; never with SQL of somebody else's."""
        self._patience = settings.database_patience
        self._joins = joins
        self._stale_seconds = stale_seconds
        self._options = connect_options(settings)
        if joins:
            self._options["client_flag"] = CLIENT.MULTI_STATEMENTS
        self._connection: pymysql.Connection[LedgerCursor] | None = None
        self._used = 0.0
        self._observer = observer or NoObserver()
        self._locks: set[str] = set()
        self._tables: KnownTables | None = None
        self._slot = random.randrange(SLOTS)  # noqa: S311 - spreads load, guards nothing

    def __enter__(self) -> Self:
        """Return the database itself; leaving closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, which frees its locks."""
        self._drop()
        self._locks.clear()

    def run(self, work: Callable[Concatenate[LedgerCursor, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(cursor, ...)` in one transaction and return its result.

        Temporary errors are retried; after SLUICE_DATABASE_PATIENCE LedgerUnavailable is raised.
        """
        return self._repeat(lambda cursor: work(cursor, *args, **kwargs), self._patience)

    def try_once(self, work: Callable[Concatenate[LedgerCursor, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work(cursor, ...)` like `run`, but only once: a temporary error raises LedgerUnavailable immediately.

        For callers that retry themselves and report why, and for work that must not be repeated.
        """
        return self._repeat(lambda cursor: work(cursor, *args, **kwargs), 0.0)

    def hold_lock(self, name: str) -> bool:
        """Take a lock that lasts as long as this connection; return whether this connection has it.

        From then on the connection must be used at least every IDLE_SECONDS: the server keeps the lock of a vanished
        machine only that long.
        """
        held = self.run(_take_lock, name)
        if held:
            self._locks.add(name)
        return held

    def holds(self, name: str) -> bool:
        """Return whether this connection took a lock and hasn't noticed its loss."""
        return name in self._locks

    def tell_of_locked(self, objects: int) -> None:
        """Report who keeps the rows of so many objects locked."""
        self.try_once(self._tell_holder, objects)

    def _repeat(self, work: Callable[[LedgerCursor], T], seconds: float) -> T:
        """Run `work` in one transaction; retry temporary errors for `seconds`."""
        memory: dict[str, Any] = {}
        deadline: float | None = None
        tries = 0
        looked_again = False
        while True:
            try:
                return self._try(work, memory)
            except (pymysql.MySQLError, OSError) as error:
                # Once: another column may be the missing one.
                if code_of(error) in RENAMED and self._tables and not looked_again:
                    self._tables, looked_again = None, True
                    continue
                cause = cause_of(error)
                self._observer.retried(cause)
                tries += 1
                if code_of(error) in LOCKED:
                    self._waited_in_vain()
                if cause == "unavailable" and code_of(error) not in DISK_FULL:
                    self._drop()
                if self._locks and self._connection is None:
                    raise self._lock_lost(describe(error)) from error
                now = time.monotonic()
                deadline = deadline or now + seconds
                wait = _wait(tries, cause)
                if now + wait > deadline or (cause == "contention" and tries >= CONTENDED_TRIES):
                    raise _gave_up(error, cause, tries, seconds) from error
                time.sleep(wait)

    def _try(self, work: Callable[[LedgerCursor], T], memory: dict[str, Any]) -> T:
        if not self._locks and time.monotonic() - self._used > self._stale_seconds:
            self._drop()
        connection = self._connection or self._open()
        try:
            # Without autocommit the first statement begins the transaction.
            with connection.cursor() as cursor:
                self._tables = self._tables or find_tables(cursor)
                known = self._tables or KnownTables()
                cursor.slot, cursor.memory = self._slot, memory
                cursor.deaths_column, cursor.has_tallies = known.deaths_column, known.has_tallies
                cursor.joins = self._joins
                result = work(cursor)
                cursor.commit()
        except BaseException:
            # Whatever the error was, the transaction must not stay open; a connection that can't roll back is closed.
            try:
                connection.rollback()
            except (pymysql.MySQLError, OSError):
                self._drop()
            raise
        finally:
            self._used = time.monotonic()
        return result

    def _open(self) -> pymysql.Connection[LedgerCursor]:
        if self._locks:
            raise self._lock_lost("it was interrupted")
        connection: pymysql.Connection[LedgerCursor] = open_connection(self._options)
        try:
            with connection.cursor() as cursor:
                cursor.execute(ISOLATION)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _drop(self) -> None:
        connection, self._connection, self._tables = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _waited_in_vain(self) -> None:
        """Report who held the row, and use another slot, since the row may have been the slot's."""
        self._slot = (self._slot + random.randrange(1, SLOTS)) % SLOTS  # noqa: S311 - as above
        if self._connection is not None:
            with self._connection.cursor() as cursor:
                self._tell_holder(cursor)

    def _tell_holder(self, cursor: LedgerCursor, objects: int = 0) -> None:
        host, who = lock_holder(cursor)
        self._observer.waited(host, who, objects)

    def _lock_lost(self, why: str) -> LockLost:
        names = ", ".join(sorted(self._locks))
        self._locks.clear()
        return LockLost(f"the connection that held {names} was lost ({why})")


def _gave_up(error: Exception, cause: str, tries: int, seconds: float) -> LedgerError:
    what = describe(error)
    if code_of(error) == ER.DUP_ENTRY:
        return LedgerError(f"a row exists where another must be ({what}): `sluice check` says which rows are wrong")
    if cause == "contention":
        return LedgerUnavailable(f"rows stayed locked by others through {tries} tries ({what})")
    if is_disk_full(error):
        return LedgerUnavailable(
            f"the database's disk is full ({what}): enlarge it or free space; work then resumes by itself"
        )
    silence = f"gave no answer for {seconds:g} s" if seconds else "gives no answer"
    return LedgerUnavailable(f"the database {silence} ({what}): is it running, and does SLUICE_DATABASE_URL name it?")


def _wait(tries: int, cause: str) -> float:
    """Return the seconds before the next try: doubling each time, and different for each process."""
    longest = LONGEST_CONTENDED_WAIT if cause == "contention" else LONGEST_WAIT
    return wait_after(tries, FIRST_WAIT, longest)


def lock_wait_seconds(settings: Settings) -> int:
    """Return how long a statement waits for a row: less than the driver's own timeout for the statement."""
    return int(max(1.0, min(LOCK_WAIT_SECONDS, settings.database_timeout / 2)))


def connect_options(settings: Settings) -> dict[str, Any]:
    """Return pymysql's arguments for the database that the settings name."""
    try:
        url = urlsplit(settings.database_url.get_secret_value())
        port = url.port or MYSQL_PORT
    except ValueError:
        # Its message would show a part of a password that contains a / or a : without %-encoding.
        raise ConfigurationError(UNREADABLE) from None
    if url.scheme not in {"mysql", "mariadb"} or not url.hostname or len(url.path) <= 1:
        raise ConfigurationError(UNREADABLE)
    password = unquote(url.password or "")
    if settings.database_password is not None:
        password = settings.database_password.get_secret_value()
    options: dict[str, Any] = {
        "host": url.hostname,
        "port": port,
        "user": unquote(url.username or ""),
        "password": password,
        "database": unquote(url.path[1:]),
        "charset": "utf8mb4",
        "autocommit": False,
        "cursorclass": LedgerCursor,
        "connect_timeout": max(1, round(settings.database_timeout)),
        "read_timeout": settings.database_timeout,
        "write_timeout": settings.database_timeout,
        "program_name": f"sluice {settings.name}",
        "init_command": SESSION.format(lock_wait=lock_wait_seconds(settings), idle=IDLE_SECONDS),
    }
    if settings.database_ca is not None:
        try:
            options["ssl"] = ssl.create_default_context(cafile=str(settings.database_ca))
        except OSError as error:
            raise ConfigurationError(
                f"SLUICE_DATABASE_CA ({settings.database_ca}) can't be read as certificates in PEM: {error}"
            ) from error
    return options


def _take_lock(cursor: LedgerCursor, name: str) -> bool:
    cursor.execute(GET_LOCK, (name, 0))
    row = cursor.fetchone()
    return bool(row and row["held"] == 1)
