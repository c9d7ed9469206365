"""CURVE: who may connect. What the keys are and how they are written, `sluice.protocol.keys` knows.

A producer lets in the consumers whose .pub files lie in SLUICE_CURVE_CLIENTS (ZAP); everybody else's connection ends
before a message is read.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from sluice.errors import ConfigurationError
from sluice.protocol.keys import read_keys, read_public, read_server
from sluice.settings import Settings

DOMAIN = "sluice"
READ_AGAIN_SECONDS = 5.0


def guard_client(socket: zmq.Socket[Any], settings: Settings) -> None:
    """Make a consumer's socket speak CURVE, if a key is set; before it connects."""
    if settings.curve_key is None:
        return
    if settings.curve_server is None:
        raise ConfigurationError("SLUICE_CURVE_KEY is set: set SLUICE_CURVE_SERVER to the producers' public key too")
    keys, server = read_keys(settings.curve_key), read_server(settings.curve_server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)


class CurveAuthenticator:
    """Who may connect to a producer: the holders of known keys; anybody, where no key is set."""

    def __init__(self, settings: Settings, context: zmq.asyncio.Context) -> None:
        self._key = settings.curve_key
        self._clients = settings.curve_clients
        self._context = context
        self._authenticator: AsyncioAuthenticator | None = None

    @property
    def closed_to_strangers(self) -> bool:
        """Whether keys are asked for."""
        return self._key is not None

    def open(self) -> None:
        """Begin to answer ZeroMQ's questions about who may come in."""
        if self._key is None:
            return
        if self._clients is None or not self._clients.is_dir():
            raise ConfigurationError(
                "SLUICE_CURVE_KEY is set: set SLUICE_CURVE_CLIENTS to the folder with the consumers' .pub files"
            )
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(DOMAIN, credentials_provider=_KnownKeys(self._clients))

    def guard(self, socket: zmq.Socket[Any]) -> None:
        """Make a producer's socket ask for keys; before it binds."""
        if self._key is None:
            return
        keys = read_keys(self._key)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)

    def close(self) -> None:
        """Stop answering."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


class _KnownKeys:
    """The public keys that may come in. For an unknown one the folder is read again: a consumer's key may be new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_at = time.monotonic()
        self._keys = self._read()

    def callback(self, domain: str, key: bytes) -> bool:
        """Answer pyzmq's question."""
        del domain
        now = time.monotonic()
        if key not in self._keys and now - self._read_at > READ_AGAIN_SECONDS:
            self._read_at = now
            try:
                self._keys = self._read()
            except ConfigurationError:
                return False  # half written, say; the keys read before stay known
        return key in self._keys

    def _read(self) -> frozenset[bytes]:
        # Kubernetes keeps a secret's versions beside it, and editors their copies, under names that begin with a dot.
        return frozenset(read_public(file) for file in self._folder.glob("*.pub") if not file.name.startswith("."))
