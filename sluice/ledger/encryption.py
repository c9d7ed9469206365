"""TLS to a database whose certificate nobody checks: where it offers TLS, and SLUICE_DATABASE_CA names no authority."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from typing import Any

from pymysql.connections import Connection


class LedgerConnection(Connection):
    """A connection with a context for TLS made before: PyMySQL reads the system's certificates for each, 25 ms."""

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:  # noqa: ANN401 - as pymysql has it
        if sslp:
            context: ssl.SSLContext = super()._create_ssl_ctx(sslp)  # type: ignore[misc]  # the types lack it
            return context
        return unchecked_context()


def open_connection(options: Mapping[str, Any]) -> Connection[Any]:
    """Return a connection with pymysql's arguments."""
    return LedgerConnection(**options)


@functools.cache
def unchecked_context() -> ssl.SSLContext:
    """Return what PyMySQL would make of no settings, without certificates, which it wouldn't look at either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
