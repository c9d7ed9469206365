"""Faults of the database and the bucket, each in its own thread, since the server may be away."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import pymysql

from tools.stack import DatabaseServer
from tools.storm.unknown.ailments import Ailments
from tools.storm.unknown.arrivals import Arrivals
from tools.storm.unknown.draw import Blow
from tools.storm.unknown.links import USER
from tools.storm.unknown.witness import ANSWER_SECONDS, ask

HELD_ROWS: Final = 60
MOST_KEYS: Final = 20
POLL_SECONDS: Final = 0.1
CONNECTIONS: Final = "SELECT id FROM information_schema.processlist WHERE user = %s ORDER BY id"
PENDING: Final = "SELECT DISTINCT object_key FROM objects WHERE state = 'pending' ORDER BY object_key LIMIT 2000"
HOLD: Final = "SELECT id FROM objects WHERE state = 'pending' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"


class Hands:
    """Injects faults that need a client of the server."""

    def __init__(self, database: DatabaseServer, schema: str, arrivals: Arrivals, ailments: Ailments) -> None:
        self._database = database
        self._schema = schema
        self._arrivals = arrivals
        self._ailments = ailments
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._acts: dict[str, Callable[[Blow], None]] = {
            "kill-connections": self._kill_connections,
            "read-only": self._read_only,
            "backup-lock": self._backup_lock,
            "hold-rows": self._hold_rows,
            "overwrite": self._change_objects,
            "delete": self._change_objects,
            "delete-and-put": self._change_objects,
        }

    def can(self, blow: Blow) -> bool:
        """Return whether this fault is one of these."""
        return blow.kind in self._acts

    def do(self, blow: Blow) -> None:
        """Inject the fault, and undo it when its time is over."""
        thread = threading.Thread(target=self._act, args=(blow,), name=str(blow), daemon=True)
        self._threads.append(thread)
        thread.start()

    def rest(self) -> None:
        """Undo all faults."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._ending.clear()

    def _act(self, blow: Blow) -> None:
        # The database may be away: then there is nothing to do.
        with contextlib.suppress(pymysql.MySQLError, OSError):
            self._acts[blow.kind](blow)

    def _kill_connections(self, blow: Blow) -> None:
        chance = random.Random(blow.at)  # noqa: S311 - repeatable
        for row in ask(self._database, "", CONNECTIONS, (USER,)):
            if chance.random() < blow.strength:
                with contextlib.suppress(pymysql.MySQLError):
                    ask(self._database, "", f"KILL {row['id']:d}")

    def _read_only(self, blow: Blow) -> None:
        with self._ailments.noted("database"):
            try:
                ask(self._database, "", "SET GLOBAL read_only = ON")
                self._ending.wait(blow.lasts)
            finally:
                self.write_again()

    def write_again(self) -> None:
        """Make the database writable again, as soon as it answers."""
        deadline = time.monotonic() + 120.0
        while True:
            try:
                ask(self._database, "", "SET GLOBAL read_only = OFF")
            except (pymysql.MySQLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    def _backup_lock(self, blow: Blow) -> None:
        with self._ailments.noted("database"), self._connected() as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION lock_wait_timeout = 5")
            cursor.execute("FLUSH TABLES WITH READ LOCK")
            self._ending.wait(blow.lasts)

    def _hold_rows(self, blow: Blow) -> None:
        with self._connected() as connection, connection.cursor() as cursor:
            cursor.execute(f"USE `{self._schema}`")
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.begin()
            cursor.execute(HOLD, (HELD_ROWS,))
            self._ending.wait(blow.lasts)
            connection.rollback()

    def _change_objects(self, blow: Blow) -> None:
        """Change objects that are pending now, and so are probably in progress."""
        pending = [bytes(row["object_key"]) for row in ask(self._database, self._schema, PENDING)]
        chance = random.Random(blow.at)  # noqa: S311 - repeatable
        count = min(len(pending), 1 + round(blow.strength * MOST_KEYS))
        for key in chance.sample(pending, k=count):
            self._arrivals.change(key, blow.kind)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[pymysql.Connection[pymysql.cursors.Cursor]]:
        """Connect as root; leaving ends locks and transactions."""
        connection = pymysql.connect(
            unix_socket=str(self._database.socket),
            user="root",
            password=self._database.password,
            connect_timeout=5,
            read_timeout=ANSWER_SECONDS,
        )
        try:
            yield connection
        finally:
            connection.close()
