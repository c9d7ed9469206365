"""The objects of the unknown storm: pictures, other files, and strange keys."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tools.storm.pictures import START_OF_IMAGE, picture

KEY_MAX: Final = 1024
PART_MAX: Final = 200
"""Maximum length of a key's part: the S3 server stores it as a file name."""
COMMENT_MAX: Final = 65_000
LARGE: Final = 5 * 1024 * 1024 + 1000
"""Too large to be sent inline, and large enough for two parts of a multipart upload."""

STRANGE: Final = (
    "space in it", " before", "after ", "per%cent", "%2F", "%252F", "%", "plus+plus", "a&b=c;d", "qu?estion#hash",
    "ünïcödé", "cafe\u0301", "café", "日本語", "😀", "עברית", "\u200bzero", "\u202ereversed", "\ufeffbom", "\u00a0nbsp",
    "back\\slash", "'quote'", '"double"', "`tick`", "$HOME", "{brace}", "[bracket]", "<angle>", "pipe|", "star*", "~",
    "tab\there", "new\nline", "return\r", "\x7fdelete", "-dash", "..dots", "...", "dot.", ".hidden",
    "CON", "NULL", "null", "true", "0", "-1", "1e9", "' OR 1=1 --", "=1+1", "a" * PART_MAX, "%s%d%n", "A", "a", "a ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes with the reasons for which they may be quarantined; no reasons: a good picture."""

    data: bytes
    reasons: tuple[str, ...] = ()


def strange_keys(chance: random.Random) -> list[str]:
    """Return some of the strange names, alone and nested, a key of maximum length, and keys with odd slashes."""
    names = chance.sample(STRANGE, k=len(STRANGE) // 2)
    nested = ["/".join(chance.sample(STRANGE, k=3)) for _ in range(4)]
    long = "/".join("l" * PART_MAX for _ in range(KEY_MAX // PART_MAX))
    odd = ["twice//slashed", "trailing/", "./dot", "up/../down"]
    return [*names, *nested, long, long[:-1] + "é"[:1], *odd]


def content(number: int, chance: random.Random) -> Content:
    """Make the content of a number: mostly a unique picture, sometimes something bad or large."""
    drawn = chance.random()
    data = picture(number)
    if drawn < 0.01:  # noqa: PLR2004 - shares of what is drawn
        return Content(b"no picture, number %d" % number, ("not_an_image",))
    if drawn < 0.02:  # noqa: PLR2004
        return Content(data[: len(data) // 2], ("truncated", "corrupt"))
    if drawn < 0.025:  # noqa: PLR2004
        return Content(large(number))
    return Content(data)


def large(number: int) -> bytes:
    """Make a picture of five megabytes: most of it is comments."""
    comment = b"\xff\xfe" + (COMMENT_MAX + 2).to_bytes(2, "big") + bytes(COMMENT_MAX)
    return START_OF_IMAGE + comment * (LARGE // len(comment) + 1) + picture(number)[2:]


def split(data: bytes, part: int = 5 * 1024 * 1024) -> Sequence[bytes]:
    """Split data into the parts of a multipart upload."""
    return [data[start : start + part] for start in range(0, len(data), part)] or [b""]
