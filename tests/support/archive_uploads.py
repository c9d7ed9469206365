"""Archives on their way to a gateway, whole or broken off, and what is left of them."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Iterator
from typing import IO, Final
from urllib.parse import urlsplit

import requests

from tests.support import archives
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Stack

MIB: Final = 1024 * 1024
ASK_SECONDS: Final = 120


def put(gateway: Gateway, name: str, data: bytes | IO[bytes] | Iterator[bytes], **headers: str) -> requests.Response:
    return requests.put(f"{gateway.url}/api/v1/uploads/{name}", data=data, headers=headers, timeout=ASK_SECONDS)


def stored(stack: Stack) -> list[str]:
    """Return the keys in the gateway's bucket."""
    found = stack.servers.s3.client.list_objects_v2(Bucket=f"gateway-{stack.database}")
    return [each["Key"] for each in found.get("Contents", [])]


def unfinished(stack: Stack) -> list[str]:
    """Return the keys of multipart uploads that are under way."""
    found = stack.servers.s3.client.list_multipart_uploads(Bucket=f"gateway-{stack.database}")
    return [each["Key"] for each in found.get("Uploads", [])]


def nothing_came_of_it(stack: Stack, operator: Operator) -> None:
    until(lambda: not unfinished(stack), "the end of the multipart upload")
    assert stored(stack) == []
    assert operator.sql("SELECT id FROM jobs") == []
    assert operator.sql("SELECT id FROM uploads") == []


class LargeZip(io.RawIOBase):
    """A stored zip of one picture and much that is none, made while it is read."""

    def __init__(self, size: int) -> None:
        self._head = archives.zipped(archives.tiles(3))
        self.size = size
        self._at = 0
        self._block = os.urandom(MIB)

    def __len__(self) -> int:
        return self.size

    def read(self, size: int = -1) -> bytes:
        if self._at >= self.size:
            return b""
        # A program may stand before a zip, and anything behind its first bytes: only the directory's end counts.
        left = min(size if size > 0 else MIB, self.size - self._at)
        data = (self._head[:100] if self._at == 0 else self._block)[:left]
        self._at += len(data)
        return data


def begin_raw(gateway: Gateway, name: str, size: int) -> socket.socket:
    """Begin an upload of so many bytes, and send half of them."""
    host, _, port = urlsplit(gateway.url).netloc.partition(":")
    connection = socket.create_connection((host, int(port)), ASK_SECONDS)
    connection.sendall(
        f"PUT /api/v1/uploads/{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode()
    )
    source = LargeZip(size // 2)
    while block := source.read(MIB):
        connection.sendall(block)
    return connection
