"""Converts what a listing, a HEAD or an event says of an object to an entry that the ledger can store.

Keys, ETags and sizes are untrusted. None may be lost, and none may reach the tables that doesn't fit, or that a read
can't be tied to: such an object is quarantined directly, with the reason.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from sluice.domain import ListedObject

KEY_MAX_BYTES: Final = 1024
SIZE_MAX: Final = 2**63 - 1
# Visible ASCII without the closing quote: fits the column, and the header If-Match.
ETAG: Final = re.compile(r"[\x21\x23-\x7e]{1,128}")
SHOWN: Final = 100


def make_entry(key: bytes, etag: object, size: object, *, archived: bool = False, is_text: bool = True) -> ListedObject:
    """Make an object's entry; if it can't be stored or read as it is, it is refused, with stand-in values that fit.

    `is_text` says that the key must be UTF-8, as in S3.
    """
    tag = bare(etag) if isinstance(etag, str) else ""
    number = size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= SIZE_MAX else None
    why = refuse_key(key, is_text=is_text) or _refuse_etag(tag)
    if not why and number is None:
        why = f"its size is impossible: {str(size)[:SHOWN]}"
    return ListedObject(_short_key(key), _short_etag(tag), number or 0, archived, why)


def bare(etag: str | None) -> str:
    """Return an ETag without its quotes."""
    return (etag or "").strip('"')


def refuse_key(key: bytes, *, is_text: bool = True) -> str:
    """Return why an object with this key can't be stored or requested; empty if it can."""
    if len(key) > KEY_MAX_BYTES:
        return f"the key has {len(key):,} bytes, more than {KEY_MAX_BYTES:,}: rename the object"
    if not key:
        return "it has no key"
    if is_text:
        try:
            key.decode()
        except UnicodeDecodeError:
            return "its key isn't UTF-8, so it can't be requested: rename the object"
    return ""


def _refuse_etag(etag: str) -> str:
    if not etag:
        return "it has no ETag, so a read couldn't be tied to the listed version"
    if not ETAG.fullmatch(etag):
        return f"its ETag can't be stored or requested (1 to 128 visible ASCII characters): {etag[:SHOWN]!r}"
    return ""


def _short_key(key: bytes) -> bytes:
    """Return a key that replaces a longer one, and can't be another object's."""
    if len(key) <= KEY_MAX_BYTES:
        return key
    digest = hashlib.sha256(key).hexdigest()[:32].encode()
    return key[: KEY_MAX_BYTES - len(digest) - 1] + b"~" + digest


def _short_etag(etag: str) -> str:
    """Return an ETag that replaces one that doesn't fit; different ETags have different replacements."""
    if not etag or ETAG.fullmatch(etag):
        return etag
    return f"sha256:{hashlib.sha256(etag.encode(errors='surrogatepass')).hexdigest()}"
