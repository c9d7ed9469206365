"""What a source looks like: s3://bucket, s3://bucket/prefix or file:///folder, and archives in them.

A source that names a zip or tar, or ends in `!/`, is read inside: `s3://bucket/holiday.zip` has the archive's members
as its objects, `s3://bucket/inbox/!/` those of all archives below that prefix. In a member's key `!/` stands between
the archive's key and the member's name.
"""

from __future__ import annotations

import re
from typing import Final

from sluice.errors import ConfigurationError

SOURCE_MAX: Final = 1200
"""Characters of a source that can be kept."""
INSIDE: Final = "!/"
"""What stands behind an archive, before the names of its members."""
ARCHIVE_ENDS: Final = (".zip", ".tar")
"""How the names of archives end, in small letters or capitals."""
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def check_source(source: str) -> str:
    """Return the source as it is kept, or say what a source looks like."""
    try:
        source.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{source!r} has bytes that are no UTF-8 text: rename the folder") from None
    if len(source) > SOURCE_MAX:
        raise ConfigurationError(f"the source has {len(source)} characters, at most {SOURCE_MAX} can be kept")
    # Not urlsplit: it drops line breaks and has opinions on brackets, and a key may hold both.
    scheme, _, rest = source.partition("://")
    bucket, slash, _ = rest.partition("/")
    if scheme == "s3" and bucket:
        _check_bucket(bucket)
        return source if slash else f"{source}/"
    if scheme == "file" and rest.startswith("/"):
        return source
    raise ConfigurationError(
        f"{source!r} is no source: give s3://bucket, s3://bucket/prefix or file:///folder (three slashes)"
    )


def is_inside(source: str) -> bool:
    """Return whether a source's objects are the members of archives."""
    return source.endswith(INSIDE) or source.lower().endswith(ARCHIVE_ENDS)


def go_inside(source: str) -> str:
    """Return the source whose objects are the members of all archives below this one."""
    return source if is_inside(source) else f"{source}{INSIDE}"


def _check_bucket(name: str) -> None:
    """Say so if no bucket can have this name."""
    if not BUCKET.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no bucket's name: 3 to 63 lower-case letters, digits, '.' and '-', as in s3://photos/2024/"
        )
