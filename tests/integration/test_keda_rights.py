"""KEDA's own user: what docs/production.md grants it is enough for what it asks, and for nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pymysql
import pytest

from sluice.ledger import Database, trainings
from tests.support.ledger_rows import entries, list_all, running_job
from tools.stack import Servers

GUIDE: Final = Path(__file__).resolve().parents[2] / "docs" / "production.md"
BACKLOG: Final = "SELECT COALESCE(SUM(pending), 0) AS pending FROM job_progress WHERE state = 'running'"
"""What the ScaledObject of the consumers asks; tests/chart/test_scaling.py compares it."""


@pytest.fixture
def kedas(servers: Servers, ledger: Database, database_name: str) -> Iterator[pymysql.Connection]:
    """Do as the guide says on a database with tables; return a connection of the user that it makes."""
    del ledger
    (block,) = re.findall(r"```sql\n(CREATE USER 'keda'.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    password = servers.database.password
    done = [re.sub(r"--.*", "", line).strip() for line in block.replace("…", password).splitlines()]
    with (
        closing(pymysql.connect(unix_socket=str(servers.database.socket), user="root", password=password)) as root,
        root.cursor() as cursor,
    ):
        try:
            for statement in done:
                cursor.execute(statement.replace(" sluice.", f" `{database_name}`."))
            port = servers.database.port
            with closing(
                pymysql.connect(host="127.0.0.1", port=port, user="keda", password=password, database=database_name)
            ) as connection:
                yield connection
        finally:
            cursor.execute("DROP USER IF EXISTS 'keda'@'%'")


def test_it_may_ask_for_the_backlog_and_the_trainings(ledger: Database, kedas: pymysql.Connection) -> None:
    list_all(ledger, running_job(ledger), entries([b"a.jpg", b"b.jpg", b"c.jpg"]))
    assert answer(kedas, BACKLOG) == 3
    assert answer(kedas, trainings.WAITING) == 0


@pytest.mark.parametrize("statement", ["SELECT COUNT(*) FROM users", "DELETE FROM trainings", "SELECT * FROM objects"])
def test_it_may_do_nothing_else(kedas: pymysql.Connection, statement: str) -> None:
    with pytest.raises(pymysql.MySQLError, match="denied"):
        answer(kedas, statement)


def answer(connection: pymysql.Connection, statement: str) -> int:
    """Return the number that a statement answers with."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])
