"""Where a request comes from: a page of ours, another site's, or a program."""

from __future__ import annotations

import ipaddress
from typing import Final, Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

Origin = Literal["ours", "foreign", "unsaid"]


def origin_of(request: HTTPConnection, url: str | None) -> Origin:
    """Return what the browser says about the page that sent this; `url` is where people reach the gateway."""
    said = request.headers.get("origin")
    if said is not None:
        return "ours" if _is_ours(said, request, url) else "foreign"
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return "ours" if site in {"same-origin", "none"} else "foreign"
    referrer = request.headers.get("referer")
    if referrer is not None:
        return "ours" if _is_ours(referrer, request, url) else "foreign"
    return "unsaid"


def _is_ours(said: str, request: HTTPConnection, url: str | None) -> bool:
    try:
        parts = urlsplit(said)
        if url is not None:
            ours = urlsplit(url)
            return (parts.scheme, netloc(parts.netloc)) == (ours.scheme, netloc(ours.netloc))
    except ValueError:
        return False
    # Whether people use https isn't known here: a proxy may end it.
    return parts.scheme in {"http", "https"} and netloc(parts.netloc) == netloc(request.headers.get("host", ""))


def netloc(host: str) -> str:
    """Return a host with its port as it is compared: in lower case, without the ports that go without saying."""
    return host.lower().removesuffix(":443").removesuffix(":80")


def safe_path(asked: str) -> str:
    """Return where to go next, if that is a page of ours; else the first page."""
    try:
        parts = urlsplit(asked)
    except ValueError:
        return "/"
    is_plain = asked.isascii() and asked.isprintable() and "\\" not in asked and " " not in asked
    is_ours = not parts.scheme and not parts.netloc and asked.startswith("/") and not asked.startswith("//")
    return asked if is_plain and is_ours else "/"


def address_of(request: HTTPConnection) -> str:
    """Return the address that somebody is counted by: of IPv6 the network that one customer has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - IPv4 and IPv6 are called that
        return host
    if (mapped := ipaddress.IPv6Address(host).ipv4_mapped) is not None:
        return str(mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
