"""CURVE decides who may connect; `sluice.protocol.keys` reads and writes the keys.

A producer accepts the consumers whose .pub files are in SLUICE_CURVE_CLIENTS (ZAP); all other connections are closed
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
    """Enable CURVE on a consumer's socket if a key is set; call it before connecting."""
    if settings.curve_key is None:
        return
    if settings.curve_server is None:
        raise ConfigurationError("SLUICE_CURVE_KEY is set: set SLUICE_CURVE_SERVER to the producers' public key too")
    keys, server = read_keys(settings.curve_key), read_server(settings.curve_server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)


def check_keys(settings: Settings) -> None:
    """Raise an error if a producer can't guard its socket with these settings."""
    if settings.curve_key is not None:
        read_keys(settings.curve_key)
        _known_keys(settings.curve_clients)


class CurveAuthenticator:
    """Decides who may connect to a producer: holders of known keys, or anybody if no key is set."""

    def __init__(self, settings: Settings, context: zmq.asyncio.Context) -> None:
        self._key = settings.curve_key
        self._clients = settings.curve_clients
        self._context = context
        self._authenticator: AsyncioAuthenticator | None = None

    @property
    def closed_to_strangers(self) -> bool:
        """Whether keys are required."""
        return self._key is not None

    def open(self) -> None:
        """Start answering ZeroMQ's authentication requests."""
        if self._key is None:
            return
        known = _known_keys(self._clients)
        self._authenticator = AsyncioAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(DOMAIN, credentials_provider=known)

    def guard(self, socket: zmq.Socket[Any]) -> None:
        """Require keys on a producer's socket; call it before binding."""
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
    """The accepted public keys. For an unknown key the folder is read again, since a consumer's key may be new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_at = time.monotonic()
        self._keys = self._read()

    def callback(self, domain: str, key: bytes) -> bool:
        """Answer pyzmq's authentication request."""
        del domain
        now = time.monotonic()
        if key not in self._keys and now - self._read_at > READ_AGAIN_SECONDS:
            self._read_at = now
            try:
                self._keys = self._read()
            except ConfigurationError:
                return False  # for example half written; the keys read before stay known
        return key in self._keys

    def _read(self) -> frozenset[bytes]:
        # Kubernetes keeps versions of a Secret, and editors their copies, under names that begin with a dot.
        return frozenset(read_public(file) for file in self._folder.glob("*.pub") if not file.name.startswith("."))


def _known_keys(clients: Path | None) -> _KnownKeys:
    if clients is None or not clients.is_dir():
        raise ConfigurationError(
            "SLUICE_CURVE_KEY is set: set SLUICE_CURVE_CLIENTS to the folder with the consumers' .pub files"
        )
    return _KnownKeys(clients)
