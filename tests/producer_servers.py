"""Fixtures for the producer's tests: a private MariaDB, a private versitygw, an S3 server that fails on command."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pymysql
import pytest
from botocore.config import Config

from sluice.ledger import Cursor, Database, models, schema
from sluice.settings import Settings, read_settings

KEY, SECRET = "producer-tests", "producer-tests-secret"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Any, seconds: float = 30.0) -> Any:  # noqa: ANN401 - whatever the condition gives
    """Give the first true answer; pymysql's and the system's errors mean 'not yet'."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, pymysql.MySQLError):
            if found := what():
                return found
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@dataclass
class MariaDB:
    """A server in a folder of its own; can be killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        command = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"]
        subprocess.run([*command, f"--datadir={self.folder}"], check=True, capture_output=True)

    def start(self) -> None:
        server = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert server, "install mariadb-server"
        options = [f"--datadir={self.folder}", f"--socket={self.folder}/s", f"--port={self.port}"]
        options += ["--bind-address=127.0.0.1", f"--pid-file={self.folder}/pid"]
        with (self.folder.parent / "mariadb.log").open("ab") as log:
            self.process = subprocess.Popen([server, "--no-defaults", "--user=root", *options], stdout=log, stderr=log)
        wait_for(lambda: self.ask("SELECT 1"))

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def ask(self, statement: str) -> Any:  # noqa: ANN401 - rows
        connection = pymysql.connect(unix_socket=f"{self.folder}/s", user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() or True


@pytest.fixture
def other_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    server = MariaDB(tmp_path_factory.mktemp("mariadb") / "data")
    server.install()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_settings(mariadb: MariaDB, gateway: str) -> Settings:
    """Settings with an empty ledger, a live model, the gateway's bucket server and a free address."""
    name = f"sluice_{time.monotonic_ns()}"
    mariadb.ask(f"CREATE DATABASE {name}")
    mariadb.ask("CREATE USER IF NOT EXISTS sluice@'127.0.0.1'")
    mariadb.ask("GRANT ALL ON *.* TO sluice@'127.0.0.1'")
    settings = read_settings(
        database_url=f"mysql://sluice@127.0.0.1:{mariadb.port}/{name}",
        s3_endpoint=gateway,
        bind=f"tcp://127.0.0.1:{free_port()}",
        heartbeat=0.5,
        s3_timeout=2.0,
    )
    schema.upgrade(settings)

    def register(cursor: Cursor) -> None:
        models.register(cursor, "m", "1", "0" * 64, {}, ["label"])
        models.promote(cursor, "m", "1")

    with Database(settings) as database:
        database.run(register)
    return settings


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server over a folder: versitygw."""
    server = shutil.which("versitygw", path=f"{os.environ['PATH']}:{Path.home()}/go/bin")
    assert server, "build versitygw: go install github.com/versity/versitygw/cmd/versitygw@latest"
    port = free_port()
    environment = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with pytest.MonkeyPatch.context() as patch, (tmp_path_factory.getbasetemp() / "versitygw.log").open("wb") as log:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.delenv("AWS_PROFILE", raising=False)
        command = [server, "--port", f"127.0.0.1:{port}", "posix", str(tmp_path_factory.mktemp("buckets"))]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for(lambda: contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)))
        yield f"http://127.0.0.1:{port}"
        process.kill()
        process.wait()


@dataclass
class TestBucket:
    """A new bucket, and a client to fill it with."""

    __test__ = False
    name: str
    client: Any

    def put(self, **objects: bytes) -> None:
        for key, body in objects.items():
            self.put_key(key, body)

    def put_key(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def bucket(gateway: str) -> TestBucket:
    client = boto3.client(
        "s3",
        endpoint_url=gateway,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )
    name = f"photos-{time.monotonic_ns()}"
    client.create_bucket(Bucket=name)
    return TestBucket(name, client)


PAGE = """<?xml version="1.0"?><ListBucketResult><Name>b</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>
<EncodingType>url</EncodingType><Contents><Key>a+b%2Bc%0A%C3%BC.jpg</Key><Size>3</Size><ETag>"e"</ETag>
<StorageClass>DEEP_ARCHIVE</StorageClass></Contents></ListBucketResult>"""


class FaultyS3:
    """Lists one object and answers every GET with what `answers` says for the key: a status and an S3 code."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.listing = 200
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(self.path.partition("?")[0]).removeprefix("/b").removeprefix("/")
                status, code = (
                    faulty.answers.get(path, (404, "NoSuchKey")) if path else (faulty.listing, "AccessDenied")
                )
                body = PAGE if not path and status == 200 else f"<Error><Code>{code}</Code><Message>m</Message></Error>"
                if status == 200 and path:
                    body = code
                self.send_response(status)
                self.send_header("ETag", '"other"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            do_HEAD = do_GET  # noqa: N815 - the base class's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def faulty(gateway: str) -> Iterator[FaultyS3]:
    assert gateway, "its credentials are in the environment"
    server = FaultyS3()
    yield server
    server.close()
