"""A private MariaDB or MySQL server, with its own data folder, socket, port and password."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pymysql

from tools.stack.leash import Leash
from tools.stack.ports import free_port
from tools.stack.server import Server, StackError, plain_environment

USER: Final = "sluice"
START_SECONDS: Final = 120.0
PLACES: Final = "/usr/local/sbin:/usr/sbin:/usr/libexec:/usr/local/mysql/bin"


class DatabaseServer(Server):
    """One server with one user, who has all privileges."""

    def __init__(self, folder: Path, leash: Leash, options: Sequence[str] = (), data: Path | None = None) -> None:
        """`options` are the server's, also when its data folder is created; that is in `data` (default: `folder`)."""
        super().__init__("database", folder, leash)
        self.user = USER
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.folder = (data or folder) / "database"
        # A server that starts deletes temporary tables in its folder for them: those of all others, if they share it.
        self._temporary = folder / "temporary"
        self._more_options = list(options)
        self._program = _find("mariadbd", "mysqld")
        # A socket's path may have only 107 characters, and the folder's may be longer.
        self.socket = folder / "db.sock"

    def url(self, database: str) -> str:
        """Return SLUICE_DATABASE_URL for one of the server's databases."""
        return f"mysql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Create the data folder the first time, and start; returns before it is ready."""
        first = self.folder / "first.sql"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._temporary.mkdir(mode=0o700, exist_ok=True)
        if not first.exists():
            self._install()
            first.touch(mode=0o600)
            first.write_text(
                f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
                f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1';\n"
                f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self.password}';\n"
            )
        self.spawn(
            [
                self._program,
                *self._options(),
                f"--socket={self.socket}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--pid-file={self.folder / 'pid'}",
                f"--init-file={first}",
                "--skip-name-resolve",
                "--skip-log-bin",
                "--loose-mysqlx=OFF",  # MySQL only: a second port, which would be the same for every server
                "--character-set-server=utf8mb4",
                "--innodb-buffer-pool-size=256M",
                "--max-connections=300",
            ],
            plain_environment(),
        )

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until the user can connect."""
        self.wait_until(self._answers, seconds)

    def create(self, database: str) -> str:
        """Create an empty database; return its URL."""
        self._execute(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        return self.url(database)

    def drop(self, database: str) -> None:
        """Drop a database."""
        self._execute(f"DROP DATABASE IF EXISTS `{database}`")

    def write_client_file(self, path: Path, database: str) -> None:
        """Write an option file for the command-line client, so that no command line shows the password."""
        path.touch(mode=0o600)
        path.write_text(
            f"[client]\nhost=127.0.0.1\nport={self.port}\nuser={USER}\npassword={self.password}\n"
            f"[mysql]\ndatabase={database}\n"
        )

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except pymysql.MySQLError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user=USER,
                password=self.password,
                connect_timeout=5,
                ssl_disabled=True,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)

    def _options(self) -> list[str]:
        user = ["--user=root"] if os.getuid() == 0 else []
        places = [f"--datadir={self.folder / 'data'}", f"--tmpdir={self._temporary}"]
        return ["--no-defaults", *places, *user, *self._more_options]

    def _install(self) -> None:
        """Create the data folder."""
        if (
            "maria"
            in subprocess.run([self._program, "--version"], check=True, capture_output=True, text=True).stdout.lower()
        ):
            installer = _find("mariadb-install-db")
            command = [installer, *self._options(), "--auth-root-authentication-method=normal", "--skip-test-db"]
        else:
            command = [self._program, *self._options(), "--initialize-insecure"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.log.write_text(done.stdout + done.stderr)
        if done.returncode:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
            raise StackError(f"{command[0]} ended with {done.returncode}:\n{self.log_tail()}")


def _find(*names: str) -> str:
    for name in names:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PLACES}")
        if found:
            return found
    raise StackError(f"no {' or '.join(names)} here: run scripts/setup")
