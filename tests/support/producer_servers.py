"""An S3 server that fails on demand, and a bucket that is easily filled."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass
class Photos:
    """A bucket, and a client to fill it with."""

    bucket: str
    client: S3Client

    def put(self, **objects: bytes) -> None:
        for key, body in objects.items():
            self.put_key(key, body)

    def put_key(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=key)


ENTRY = "<Contents><Key>{}</Key><Size>{}</Size><ETag>{}</ETag><StorageClass>{}</StorageClass></Contents>"
PAGE = """<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><IsTruncated>{}</IsTruncated>
<EncodingType>url</EncodingType>{}</ListBucketResult>"""
ARCHIVED = ENTRY.format("a+b%2Bc%0A%C3%BC.jpg", 3, '"e"', "DEEP_ARCHIVE")


class FaultyS3:
    """Lists one archived object, or `entries` (key, ETag, size).

    Answers every GET as `answers` says for the key: with a status and an S3 code (or the body, for 200).
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {}
        self.listing = 200
        self.entries: list[tuple[str, str, str]] | None = None
        self.has_more = False
        """Whether it says that there is another page, without saying where."""
        faulty = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = unquote(self.path.partition("?")[0]).removeprefix("/").lstrip("b").removeprefix("/")
                status, code = (
                    faulty.answers.get(path, (404, "NoSuchKey")) if path else (faulty.listing, "AccessDenied")
                )
                body = (
                    faulty.page()
                    if not path and status == 200
                    else f"<Error><Code>{code}</Code><Message>m</Message></Error>"
                )
                if status == 200 and path:
                    body = code
                self.send_response(status)
                self.send_header("ETag", '"other"')
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body.encode())

            do_HEAD = do_GET  # noqa: N815 - the base class's name

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self) -> str:
        """Return the one page of the listing."""
        has_more = str(self.has_more).lower()
        if self.entries is None:
            return PAGE.format(has_more, ARCHIVED)
        return PAGE.format(
            has_more, "".join(ENTRY.format(key, size, etag, "STANDARD") for key, etag, size in self.entries)
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RefusingProxy:
    """Forwards requests to an S3 server, but answers GETs of the keys in `refused` with an error.

    Keys that begin with `held` get their answer when that is None again.
    """

    def __init__(self, target: str) -> None:
        self.refused: dict[str, tuple[int, str]] = {}
        self.all = False
        self.refusals = 0
        self.held: str | None = None
        self.asked: set[str] = set()
        self.requests: list[str] = []
        """The method and the key of each request, in order; the key of a listing is empty."""
        proxy, address = self, urlsplit(target).netloc

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                key = unquote(self.path.partition("?")[0]).removeprefix("/").partition("/")[2]
                proxy.asked.add(key)
                proxy.requests.append(f"{self.command} {key}")
                while key and proxy.held is not None and key.startswith(proxy.held):
                    time.sleep(0.05)
                if key in proxy.refused or (proxy.all and key):
                    proxy.refusals += 1
                    status, code = proxy.refused.get(key, (500, "InternalError"))
                    self._answer(status, {}, f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode())
                    return
                # The signature covers the host name that the client used, which is forwarded unchanged.
                upstream = HTTPConnection(address)
                upstream.request(self.command, self.path, headers=dict(self.headers))
                answer = upstream.getresponse()
                self._answer(answer.status, dict(answer.getheaders()), answer.read())
                upstream.close()

            do_HEAD = do_GET  # noqa: N815 - the base class's name

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                        self.send_header(name, value)
                length = headers.get("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
