"""Resolves the addresses in the settings to endpoints: a name with several addresses is several endpoints."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from sluice.errors import ConfigurationError
from sluice.inference.client import Endpoint

PORTS = {"http": 80, "https": 443}


def check(url: str) -> None:
    """Raise an error for a URL that can't be TorchServe's."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigurationError(f"SLUICE_TORCHSERVE has {url!r}: expected http://host:port or https://host:port")


def endpoints(url: str) -> list[Endpoint]:
    """Resolve an address now; raise OSError if the name has no address."""
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    found = {
        str(sockaddr[0])
        for *_, sockaddr in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    }
    prefix = parts.path.rstrip("/")
    return [
        Endpoint(f"{parts.scheme}://{f'[{ip}]' if ':' in ip else ip}:{port}{prefix}", parts.netloc.rsplit("@")[-1])
        for ip in sorted(found)
    ]
