"""A storage that breaks off within a body: that is a refused read, and no error of another kind."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sluice.errors import ObjectError, SourceError, SourceMissing
from sluice.objects import Bucket
from sluice.objects.files import BucketFiles
from sluice.settings import Settings, read_settings


class BreakingS3:
    """Gives ten bytes of a hundred of whatever is asked for, then what `ending` says."""

    def __init__(self, ending: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(206 if "Range" in self.headers else 200)
                self.send_header("ETag", '"e"')
                self.send_header("Content-Length", "100")
                self.send_header("Content-Range", "bytes 0-99/100")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(b"ten bytes.")
                if ending == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                elif ending == "silence":
                    closed.wait()

            def log_message(self, *_: object) -> None:
                pass

        closed = self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(params=["end", "reset", "silence"])
def breaking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[BreakingS3]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-key")
    server = BreakingS3(request.param)
    yield server
    server.close()


def settings_of(server: BreakingS3, client: str) -> Settings:
    return read_settings(s3_endpoint=server.endpoint, s3_client=client, s3_timeout=1.0)


@pytest.mark.parametrize("client", ["direct", "boto3"])
def test_a_body_that_breaks_off_is_no_object_s_fault(breaking: BreakingS3, client: str) -> None:
    source = Bucket("bucket", "", settings_of(breaking, client))
    with pytest.raises(SourceError) as whole:
        asyncio.run(source.read(b"key", "e", 1000))
    with pytest.raises(SourceError) as part:
        asyncio.run(source.read_range(b"key", "e", 0, 100))
    source.close()
    for error in (whole.value, part.value):
        assert not isinstance(error, ObjectError)


def test_a_directory_that_breaks_off_is_no_archive_s_fault(breaking: BreakingS3) -> None:
    source = Bucket("bucket", "", settings_of(breaking, "boto3"))
    with pytest.raises(SourceError) as error:
        source.read_range_now(b"a.zip", "e", 0, 100)
    source.close()
    assert not isinstance(error.value, ObjectError)


@pytest.mark.parametrize("breaking", ["end", "reset"], indirect=True)
def test_a_file_that_breaks_off_can_be_read_later(breaking: BreakingS3, tmp_path: Path) -> None:
    """Checkpoints, features and models are read so: a trainer waits, and an agent tells of it."""
    with closing(BucketFiles("bucket", settings_of(breaking, "boto3"))) as files:
        with pytest.raises(SourceError, match="broke off again and again") as whole:
            files.get("key")
        with pytest.raises(SourceError, match="broke off again and again") as downloaded:
            files.download("key", tmp_path / "file")
    for error in (whole.value, downloaded.value):
        assert not isinstance(error, SourceMissing)
