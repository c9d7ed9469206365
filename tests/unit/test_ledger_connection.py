"""How the ledger handles the driver's errors and the database's URL, without a server."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pymysql
import pytest
from prometheus_client import REGISTRY
from pymysql.constants import CR, ER

from sluice.errors import ConfigurationError, LedgerError, LedgerUnavailable, TablesMissing
from sluice.ledger.connection import Database, connect_options
from sluice.ledger.encryption import open_connection
from sluice.ledger.faults import cause_of, describe, is_disk_full
from sluice.ledger.rows import shortened
from sluice.settings import Settings, read_settings
from sluice.telemetry import LedgerTelemetry

SECRET = "p@ss/w:rd%"


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (pymysql.OperationalError(ER.LOCK_DEADLOCK, "deadlock"), "contention"),
        (pymysql.OperationalError(ER.LOCK_WAIT_TIMEOUT, "lock wait"), "contention"),
        (pymysql.IntegrityError(ER.DUP_ENTRY, "another was first"), "contention"),
        (pymysql.OperationalError(CR.CR_SERVER_LOST, "killed at COMMIT"), "unavailable"),
        (pymysql.OperationalError(CR.CR_SERVER_GONE_ERROR, "killed before"), "unavailable"),
        (pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, "refused"), "unavailable"),
        (pymysql.OperationalError(ER.CON_COUNT_ERROR, "too many connections"), "unavailable"),
        (pymysql.OperationalError(ER.OPTION_PREVENTS_STATEMENT, "--read-only"), "unavailable"),
        (pymysql.OperationalError(ER.DISK_FULL, "disk full"), "unavailable"),
        (pymysql.OperationalError(ER.RECORD_FILE_FULL, "table is full"), "unavailable"),
        (pymysql.InternalError(ER.GET_ERRNO, "got error 28 from storage engine"), "unavailable"),
        (pymysql.OperationalError(1927, "connection was killed"), "unavailable"),
        (pymysql.InternalError("Packet sequence number wrong"), "unavailable"),
        (pymysql.InterfaceError(0, ""), "unavailable"),
        (ConnectionResetError(104, "reset by peer"), "unavailable"),
        (TimeoutError("timed out"), "unavailable"),
    ],
)
def test_what_may_pass(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


@pytest.mark.parametrize(
    ("error", "raised", "advice"),
    [
        (
            pymysql.ProgrammingError(ER.NO_SUCH_TABLE, "no table"),
            TablesMissing,
            "no tables yet: run `sluice db upgrade`",
        ),
        (pymysql.OperationalError(ER.BAD_FIELD_ERROR, "no column"), TablesMissing, "older tables.*sluice db upgrade"),
        (pymysql.OperationalError(ER.BAD_DB_ERROR, "no database"), ConfigurationError, "CREATE DATABASE"),
        (pymysql.OperationalError(ER.ACCESS_DENIED_ERROR, "denied"), ConfigurationError, "password"),
        (pymysql.OperationalError(1142, "SELECT command denied"), ConfigurationError, "rights"),
        (pymysql.ProgrammingError(ER.PARSE_ERROR, "syntax"), LedgerError, "refused a statement"),
        (pymysql.DataError(ER.DATA_TOO_LONG, "too long"), LedgerError, "refused a statement"),
        (pymysql.ProgrammingError("nan can not be used with MySQL"), LedgerError, "refused a statement"),
    ],
)
def test_what_no_retry_mends(error: Exception, raised: type[Exception], advice: str) -> None:
    with pytest.raises(raised, match=advice) as caught:
        cause_of(error)
    assert not isinstance(caught.value, LedgerUnavailable)


def test_an_error_is_one_line() -> None:
    assert describe(pymysql.OperationalError(1, "two\nlines")) == "1: two lines"
    assert describe(ConnectionResetError()) == "ConnectionResetError"


def test_a_database_that_was_never_there_is_counted_though_patience_is_the_callers() -> None:
    """An alert uses this count: a process that still waits for its first answer must not be silent."""

    def count() -> float:
        return REGISTRY.get_sample_value("sluice_ledger_retries_total", {"cause": "unavailable"}) or 0.0

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mysql://sluice@127.0.0.1:{unused.getsockname()[1]}/sluice"
        before = count()
        observed = Database(read_settings(database_url=url), LedgerTelemetry())
        with observed as database, pytest.raises(LedgerUnavailable):
            database.try_once(lambda _: None)
    assert count() == before + 1


def options(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic checks each
    return connect_options(Settings(**settings))


def test_the_urls_parts() -> None:
    url = "mysql://us%40er:p%40ss%2Fw%3Ard%25@db.example:3307/slu%20ice"
    found = options(database_url=url, database_timeout=3)
    assert [found[name] for name in ("host", "port", "user", "password", "database", "read_timeout")] == [
        "db.example",
        3307,
        "us@er",
        SECRET,
        "slu ice",
        3.0,
    ]
    assert "ssl" not in found


def test_the_password_may_stand_apart() -> None:
    assert options(database_url="mariadb://u@h/d", database_password=SECRET)["password"] == SECRET


@pytest.mark.parametrize(
    "url", ["", "postgres://u@h/d", "mysql://u@h", "mysql://u@h/", "mysql:///d", "mysql://u:top/secret@h/d"]
)
def test_a_url_that_cant_be_read_is_not_repeated(url: str) -> None:
    """The message must not put the password into a log."""
    with pytest.raises(ConfigurationError, match="expected mysql://") as caught:
        options(database_url=url)
    assert "top" not in str(caught.value)


def test_a_missing_ca_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SLUICE_DATABASE_CA"):
        options(database_ca=tmp_path / "none.pem")


def test_connections_share_what_tls_without_a_ca_takes() -> None:
    """As PyMySQL has it: TLS where the server offers it, with whatever certificate."""
    theirs: Any = pymysql.Connection(defer_connect=True)
    settings: list[dict[str, Any]] = [{}, {"ssl": None}, {"ssl": theirs.ctx}]
    connections: list[Any] = [open_connection({"defer_connect": True, **more}) for more in settings]
    first, second, other = connections
    assert first.ctx is second.ctx
    assert other.ctx is theirs.ctx
    assert (first.ssl, first._ssl_required, first.client_flag) == (theirs.ssl, False, theirs.client_flag)
    told = ("verify_mode", "check_hostname", "minimum_version", "maximum_version", "options", "protocol")
    assert [getattr(first.ctx, name) for name in told] == [getattr(theirs.ctx, name) for name in told]


def test_text_is_kept_as_the_columns_can() -> None:
    assert shortened("ab\udce9c", 3) == "ab?"
    assert shortened("📷" * 3, 2) == "📷📷"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (pymysql.OperationalError(ER.RECORD_FILE_FULL, "The table 'objects' is full"), True),
        (pymysql.InternalError(ER.GET_ERRNO, "Got error 28 from storage engine"), True),
        (
            pymysql.InternalError(ER.GET_ERRNO, 'Got error 28 "No space left on device" from storage engine InnoDB'),
            True,
        ),
        (
            pymysql.OperationalError(3, "Error writing file '/tmp/MLfd=5' (Errcode: 28 \"No space left on device\")"),
            True,
        ),
        (pymysql.InternalError(ER.GET_ERRNO, "Got error 284 from storage engine"), False),
        (pymysql.OperationalError(ER.OPTION_PREVENTS_STATEMENT, "--read-only"), False),
    ],
)
def test_a_full_disk_is_told_from_other_trouble(error: Exception, full: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_disk_full(error) == full


def test_a_full_disk_is_said_with_the_remedy_and_its_connection_stays() -> None:
    """Otherwise its lock would be lost and taken repeatedly."""
    database = Database(read_settings(database_patience=0.01))
    connection = MagicMock()
    database._connection, database._used = connection, time.monotonic()
    database._locks.add("shard")

    def full(_: object) -> None:
        raise pymysql.OperationalError(ER.RECORD_FILE_FULL, "The table 'objects' is full")

    with pytest.raises(LedgerUnavailable, match=r"disk is full.*'objects'.*enlarge it"):
        database.run(full)
    connection.close.assert_not_called()
    assert database._connection is connection
