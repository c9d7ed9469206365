"""Proxies before the gateway: whose word on the client's address and on https is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from sluice.errors import ConfigurationError

HOPS_MAX: Final = 20


class TrustedProxies:
    """Puts what trusted proxies say in the place of their own addresses."""

    def __init__(self, networks: Sequence[str]) -> None:
        try:
            self._networks = [ipaddress.ip_network(each, strict=False) for each in networks]
        except ValueError as error:
            raise ConfigurationError(f"SLUICE_GATEWAY_PROXIES: {error}: expected networks, as 10.0.0.0/8") from error

    def correct(self, scope: Scope) -> None:
        """Set the client's address and the scheme as the proxies tell them; strangers' words are nothing."""
        client = scope.get("client")
        if not self._networks or client is None or not self._is_trusted(client[0]):
            return
        headers = Headers(scope=scope)
        address = client[0]
        # Each proxy appends whom it heard from: what stands left of the first stranger is the stranger's own claim.
        for hop in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")[-HOPS_MAX:]):
            said = hop.strip()
            if not _is_address(said):
                break
            address = said
            if not self._is_trusted(said):
                break
        scope["client"] = (address, client[1])
        scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
        if scheme in {"http", "https"}:
            scope["scheme"] = scheme

    def _is_trusted(self, host: str) -> bool:
        if not _is_address(host):
            return False
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
