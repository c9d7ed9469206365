"""What a source looks like: s3://bucket, s3://bucket/prefix or file:///folder."""

from __future__ import annotations

import re
from typing import Final

from sluice.errors import ConfigurationError

SOURCE_MAX: Final = 1200
"""Characters of a source that can be kept."""
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


def _check_bucket(name: str) -> None:
    """Say so if no bucket can have this name."""
    if not BUCKET.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no bucket's name: 3 to 63 lower-case letters, digits, '.' and '-', as in s3://photos/2024/"
        )
