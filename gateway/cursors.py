"""Where a list goes on, as an opaque text: what comes back from outside is checked like everything from outside."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from sluice.errors import RequestError

CURSOR_MAX: Final = 1000
"""Characters of a cursor."""
NUMBER_MAX: Final = 2**64 - 1

Values = tuple[str | float, ...]


def encode(of: str, values: Sequence[str | float]) -> str:
    """Return the cursor of a list that is called so."""
    made = json.dumps([of, *values], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(made.encode()).decode().rstrip("=")


def next_page(of: str, ids: Sequence[int], limit: int) -> str | None:
    """Return the cursor after `limit` rows by their ids, of which one more than that was asked for; None: no more."""
    return encode(of, [ids[limit - 1]]) if len(ids) > limit else None


def decode(of: str, text: str, kinds: Sequence[type]) -> Values | None:
    """Return the values of a cursor of that list, None for an empty one; RequestError for what is none."""
    if not text:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        read = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _forged() from error
    if not isinstance(read, list) or len(read) != len(kinds) + 1 or read[0] != of:
        raise _forged()
    return tuple(_checked(value, kind) for value, kind in zip(read[1:], kinds, strict=True))


def _checked(value: object, kind: type) -> str | float:
    if kind is str and isinstance(value, str) and "\0" not in value and value.isprintable():
        return value
    if kind is int and type(value) is int and 0 <= value <= NUMBER_MAX:
        return value
    if kind is float and type(value) in (int, float) and math.isfinite(found := float(str(value))):
        return found
    raise _forged()


def _forged() -> RequestError:
    return RequestError(
        HTTPStatus.BAD_REQUEST,
        "this cursor is of no page, or of one in another order: take `next` of the page before, and leave the rest of "
        "the request as it was; without a cursor the first page comes",
    )
