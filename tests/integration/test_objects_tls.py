"""Objects over TLS, as AWS has them: read by connections of Sluice's own, to whom boto3 would trust and nobody else."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sluice.errors import SourceError
from sluice.objects import Bucket
from sluice.settings import read_settings
from tools.stack import S3Server

PIECE = 65536
DATA = bytes(range(256)) * 4096


class TlsRelay:
    """Passes on what comes by TLS to a server that has none, and notes the requests' heads."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self._behind = urlsplit(endpoint)
        self.certificate = folder / "certificate.pem"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate, _certify(folder))
        self.connections = 0
        self.heard = b""
        self.endpoint = ""
        self._listening = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve()])
        self._thread.start()
        assert self._listening.wait(60)

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)
        self.endpoint = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        await self._closing.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection(self._behind.hostname, self._behind.port)

        async def answer() -> None:
            while piece := await there.read(PIECE):
                writer.write(piece)
                await writer.drain()
            writer.close()

        answering = asyncio.create_task(answer())
        while piece := await reader.read(PIECE):
            self.heard += piece
            back.write(piece)
            await back.drain()
        back.close()
        await answering

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()


def _certify(folder: Path) -> Path:
    """Write a certificate of this machine's address, signed by nobody else; return its key's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "storage")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "key.pem"


@pytest.fixture
def relay(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsRelay]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    relay = TlsRelay(s3.endpoint, tmp_path)
    yield relay
    relay.close()


def opened(bucket: str, relay: TlsRelay) -> Bucket:
    return Bucket(bucket, "", read_settings(s3_endpoint=relay.endpoint, s3_client="direct", s3_timeout=10.0))


def test_objects_are_read_by_one_connection_that_boto3_would_trust(
    relay: TlsRelay, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(relay.certificate))
    etag = s3.client.put_object(Bucket=bucket, Key="a b/ü.jpg", Body=DATA)["ETag"].strip('"')
    source = opened(bucket, relay)

    async def read_all() -> list[bytes]:
        key = "a b/ü.jpg".encode()
        return [await source.read(key, etag, len(DATA)) for _ in range(3)] + [
            await source.read_range(key, etag, 100, 1000)
        ]

    *whole, part = asyncio.run(read_all())
    source.close()
    assert whole == [DATA] * 3
    assert part == DATA[100:1100]
    assert (relay.heard.count(b"GET /"), relay.connections) == (4, 1)
    assert b"boto" not in relay.heard.lower()


def test_who_is_not_trusted_is_not_asked(relay: TlsRelay, s3: S3Server, bucket: str) -> None:
    etag = s3.client.put_object(Bucket=bucket, Key="a.jpg", Body=DATA)["ETag"].strip('"')
    source = opened(bucket, relay)
    with pytest.raises(SourceError, match="certificate verify failed"):
        asyncio.run(source.read(b"a.jpg", etag, len(DATA)))
    source.close()
    assert relay.heard == b""
