"""Syntax of a source: s3://bucket, s3://bucket/prefix or file:///folder, and archives in them.

The objects of `s3://bucket/holiday.zip` are the members of that zip or tar; those of `s3://bucket/inbox/!/` are the
members of all archives below that prefix. A member's key is the archive's key, `!/` and the member's name.
"""

from __future__ import annotations

import re
from typing import Final

from sluice.errors import ConfigurationError

SOURCE_MAX: Final = 1200
"""Maximum length of a source, in characters."""
INSIDE: Final = "!/"
"""Separates an archive's key from a member's name."""
ARCHIVE_ENDS: Final = (".zip", ".tar")
"""Endings of archives' names, in upper or lower case."""
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def check_source(source: str) -> str:
    """Return the source in the form that is stored, or raise an error that says what a source looks like."""
    try:
        source.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{source!r} isn't UTF-8: rename the folder") from None
    if len(source) > SOURCE_MAX:
        raise ConfigurationError(f"the source has {len(source)} characters, more than {SOURCE_MAX}")
    # Not urlsplit: it drops line breaks and rejects some brackets, and a key may contain both.
    scheme, _, rest = source.partition("://")
    bucket, slash, _ = rest.partition("/")
    if scheme == "s3" and bucket:
        _check_bucket(bucket)
        return source if slash else f"{source}/"
    if scheme == "file" and rest.startswith("/"):
        return source
    raise ConfigurationError(
        f"{source!r} isn't a source: expected s3://bucket, s3://bucket/prefix or file:///folder (three slashes)"
    )


def is_inside(source: str) -> bool:
    """Return whether a source's objects are the members of archives."""
    return source.endswith(INSIDE) or source.lower().endswith(ARCHIVE_ENDS)


def go_inside(source: str) -> str:
    """Return the source whose objects are the members of all archives below this source."""
    return source if is_inside(source) else f"{source}{INSIDE}"


def _check_bucket(name: str) -> None:
    """Raise an error if no bucket can have this name."""
    if not BUCKET.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} isn't a bucket name: expected 3 to 63 lower-case letters, digits, '.' and '-', as in s3://photos/2024/"
        )
