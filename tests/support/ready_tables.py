"""The newest tables at once, as a server describes those that the migrations made; a test compares both."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import Final

import pymysql
from pymysql.constants import CLIENT

from sluice.ledger import schema
from sluice.ledger.connection import connect_options
from sluice.settings import read_settings
from tools.stack import DatabaseServer

MIGRATED: Final = "migrated"
VIEW: Final = "VIEW"


def described(url: str) -> dict[str, str]:
    """Return the statement that makes each table and view of a database, without the database's name."""
    options = connect_options(read_settings(database_url=url))
    own_name = f"`{options['database']}`."
    with pymysql.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW FULL TABLES")
        names = [str(next(iter(row.values()))) for row in cursor.fetchall()]
        found = {}
        for name in names:
            cursor.execute(f"SHOW CREATE TABLE `{name}`")
            _, statement, *_ = (cursor.fetchone() or {}).values()
            found[name] = str(statement).replace(own_name, "")
        return found


def ready_statements(server: DatabaseServer) -> str:
    """Migrate a database, which stays; return statements that make the same of an empty one."""
    url = server.create(MIGRATED)
    schema.upgrade(read_settings(database_url=url))
    found = described(url)
    views = {name for name, statement in found.items() if f" {VIEW} `{name}` AS " in statement}
    needed = {
        name: {other for other in views - {name} if f"`{other}`" in found[name].partition(" AS ")[2]} for name in views
    }
    ordered = [*(found.keys() - views), *TopologicalSorter(needed).static_order()]
    rows = f"INSERT INTO alembic_version SELECT * FROM `{MIGRATED}`.alembic_version"
    return ";".join([*(found[name] for name in ordered), rows])


def make_tables(url: str, statements: str) -> None:
    """Run them in an empty database."""
    options = connect_options(read_settings(database_url=url))
    options["client_flag"] = CLIENT.MULTI_STATEMENTS
    with pymysql.connect(**options) as connection, connection.cursor() as cursor:
        cursor.execute(statements)
        while cursor.nextset():
            pass
        connection.commit()
