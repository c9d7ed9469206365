"""What a listing, a HEAD or an event says of an object, made into what the ledger can hold.

Strangers choose keys, and servers choose ETags and sizes. Nothing that they say may be lost, and nothing may reach the
tables that these can't hold or that a read can't be bound to: such an object goes straight into quarantine, where a
person sees it with the reason.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from sluice.domain import ListedObject

KEY_MAX_BYTES: Final = 1024
SIZE_MAX: Final = 2**63 - 1
# Visible ASCII without the quote that ends it: what the table holds, and what a header can say in If-Match.
ETAG: Final = re.compile(r"[\x21\x23-\x7e]{1,128}")
SHOWN: Final = 100


def make_entry(key: bytes, etag: object, size: object, *, archived: bool = False, is_text: bool = True) -> ListedObject:
    """Make an object's entry; one that can't be kept or read as it is is refused, with stand-ins that can be kept.

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
    """Say why an object of this key can't be kept or asked for; empty if it can."""
    if len(key) > KEY_MAX_BYTES:
        return f"the key has {len(key):,} bytes, at most {KEY_MAX_BYTES:,} can be kept: rename the object"
    if not key:
        return "it has no key"
    if is_text:
        try:
            key.decode()
        except UnicodeDecodeError:
            return "its key is no UTF-8 text, so it can't be asked for: rename the object"
    return ""


def _refuse_etag(etag: str) -> str:
    if not etag:
        return "it has no ETag, so nobody could tell whether the bytes that are read are those that were listed"
    if not ETAG.fullmatch(etag):
        return f"its ETag can't be kept or asked for (1 to 128 visible ASCII characters): {etag[:SHOWN]!r}"
    return ""


def _short_key(key: bytes) -> bytes:
    """Return a key that can be kept in place of a longer one, and is no other object's."""
    if len(key) <= KEY_MAX_BYTES:
        return key
    digest = hashlib.sha256(key).hexdigest()[:32].encode()
    return key[: KEY_MAX_BYTES - len(digest) - 1] + b"~" + digest


def _short_etag(etag: str) -> str:
    """Return an ETag that can be kept in place of one that can't; another ETag has another."""
    if not etag or ETAG.fullmatch(etag):
        return etag
    return f"sha256:{hashlib.sha256(etag.encode(errors='surrogatepass')).hexdigest()}"
