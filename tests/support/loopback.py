"""What addresses this machine's loopback has."""

from __future__ import annotations

import contextlib
import socket


def has_ipv6() -> bool:
    """Return whether this machine's loopback has an address of IPv6."""
    with socket.socket(socket.AF_INET6) as listener, contextlib.suppress(OSError):
        listener.bind(("::1", 0))
        return True
    return False
