"""What a database's error means: whether it is temporary, and what to do if it isn't.

Codes that pymysql names are written by name, the others as numbers.
"""

from __future__ import annotations

import re
from typing import Final

import pymysql
from pymysql.constants import CR, ER

from sluice.errors import ConfigurationError, LedgerError, TablesMissing

LOCKED: Final = frozenset({ER.LOCK_WAIT_TIMEOUT})
"""Another transaction held a row for longer than a statement waits."""

DISK_FULL: Final = frozenset({ER.DISK_FULL, ER.RECORD_FILE_FULL})
"""A statement found no space; the connection is good, and must be kept because it may hold a lock."""

CONTENDED: Final = frozenset(
    {
        *LOCKED,
        ER.LOCK_DEADLOCK,
        ER.LOCK_TABLE_FULL,
        ER.CHECKREAD,
        # Two writers found no row for a key and both insert it: the second one finds the first one's row in its retry.
        ER.DUP_ENTRY,
    }
)
"""Another transaction was in the way; the connection is good."""

UNAVAILABLE: Final = frozenset(
    {
        CR.CR_CONN_HOST_ERROR,
        CR.CR_CONNECTION_ERROR,
        CR.CR_IPSOCK_ERROR,
        CR.CR_SERVER_GONE_ERROR,
        CR.CR_SERVER_LOST,
        CR.CR_SERVER_LOST_EXTENDED,
        CR.CR_SERVER_HANDSHAKE_ERR,
        CR.CR_MALFORMED_PACKET,
        CR.CR_COMMANDS_OUT_OF_SYNC,
        # Too many users for now
        ER.CON_COUNT_ERROR,
        ER.TOO_MANY_USER_CONNECTIONS,
        ER.USER_LIMIT_REACHED,
        ER.CANT_CREATE_THREAD,
        ER.HOST_IS_BLOCKED,
        # Stopping, starting or disconnected
        ER.SERVER_SHUTDOWN,
        ER.NORMAL_SHUTDOWN,
        ER.FORCING_CLOSE,
        ER.ABORTING_CONNECTION,
        ER.NEW_ABORTING_CONNECTION,
        ER.NET_READ_ERROR,
        ER.NET_READ_INTERRUPTED,
        ER.NET_ERROR_ON_WRITE,
        ER.NET_WRITE_INTERRUPTED,
        ER.UNKNOWN_COM_ERROR,  # a Galera node that isn't in sync answers this
        ER.QUERY_INTERRUPTED,
        1927,  # MariaDB: connection was killed
        1969,  # MariaDB: max_statement_time exceeded
        3024,  # MySQL: max_execution_time exceeded
        3169,  # MySQL: session was killed
        4031,  # MySQL: disconnected for inactivity
        # Read-only: a replica before it is promoted, or a server in maintenance
        ER.OPTION_PREVENTS_STATEMENT,
        1792,  # read-only transaction
        1836,  # read-only mode
        # No space, no memory, no disk
        *DISK_FULL,
        3,  # error writing a file
        ER.ERROR_ON_READ,
        ER.ERROR_ON_WRITE,
        ER.GET_ERRNO,
        ER.ERROR_DURING_COMMIT,
        ER.OUTOFMEMORY,
        ER.OUT_OF_SORTMEMORY,
        ER.OUT_OF_RESOURCES,
        1598,  # the binary log can't be written
        1878,  # error writing a temporary file
        1637,  # too many active concurrent transactions
    }
)
"""Temporary errors of the server; the connection may be bad."""

NO_SPACE: Final = re.compile(r"\bNo space left on device\b|\b(?:errno|error:?) 28\b", re.IGNORECASE)

SCHEMA: Final = frozenset({ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR})
REFUSED: Final = frozenset(
    {
        ER.ACCESS_DENIED_ERROR,
        ER.DBACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
        ER.COLUMNACCESS_DENIED_ERROR,
        ER.HOST_NOT_PRIVILEGED,
        ER.NOT_SUPPORTED_AUTH_MODE,
        1698,  # access denied for a user without a password
        2059,  # the server wants an authentication method that the driver lacks
        4151,  # MariaDB: the account is locked
        3118,  # MySQL: the account is locked
        3159,  # MySQL: TLS is required (SLUICE_DATABASE_CA)
    }
)


def cause_of(error: Exception) -> str:
    """Return the cause of a temporary error: 'contention' or 'unavailable'. Raise any other error."""
    code = code_of(error)
    if code in CONTENDED:
        return "contention"
    # If a server dies in the middle of an answer, the driver gets packets that it can't parse.
    torn = isinstance(error, pymysql.InternalError) and code is None
    if code in UNAVAILABLE or torn or isinstance(error, OSError | pymysql.InterfaceError):
        return "unavailable"
    what = describe(error)
    if code in SCHEMA:
        lacks = "has no tables yet" if code == ER.NO_SUCH_TABLE else "has older tables than this program expects"
        raise TablesMissing(f"the ledger {lacks}: run `sluice db upgrade` ({what})") from error
    if code == ER.BAD_DB_ERROR:
        raise ConfigurationError(
            f"there is no such database ({what}): make it with CREATE DATABASE, or correct SLUICE_DATABASE_URL"
        ) from error
    if code in REFUSED:
        raise ConfigurationError(
            f"the database refuses the user ({what}): correct SLUICE_DATABASE_URL or its password, or grant the rights"
        ) from error
    raise LedgerError(f"the database refused a statement ({what})") from error


def is_disk_full(error: Exception) -> bool:
    """Return whether the server's disk is full; for some codes only the message says so."""
    return code_of(error) in DISK_FULL or NO_SPACE.search(describe(error)) is not None


def code_of(error: Exception) -> int | None:
    """Return the server's or driver's error number, if there is one."""
    first = error.args[0] if error.args else None
    return first if isinstance(error, pymysql.MySQLError) and isinstance(first, int) else None


def describe(error: BaseException) -> str:
    """Return the driver's message in one line."""
    parts = [str(part) for part in error.args] or [type(error).__name__]
    return ": ".join(parts).replace("\n", " ")
