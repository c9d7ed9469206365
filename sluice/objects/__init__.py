"""Sources of objects: buckets, folders, and archives in them. Lists and reads them; knows nothing of jobs or leases."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from sluice.domain import INSIDE, check_source, is_inside
from sluice.errors import ConfigurationError
from sluice.objects.archives import Archives
from sluice.objects.folder import Folder
from sluice.objects.s3 import Bucket
from sluice.objects.source import ObjectChanged, Source
from sluice.settings import Settings

__all__ = ["Archives", "Bucket", "Folder", "ObjectChanged", "Source", "open_source"]


def open_source(source: str, settings: Settings, on_links: Callable[[int], None] = lambda _: None) -> Source:
    """Return a job's source: s3://bucket[/prefix] or file:///absolute/folder, or archives there.

    `on_links` is called with the number of links that the listing of a folder leaves out.
    """
    scheme, _, rest = check_source(source).partition("://")
    if not is_inside(source):
        return _open(scheme, rest, settings, on_links)
    path = rest.removesuffix(INSIDE)
    # One archive, or all below a prefix; a folder's name may look like an archive's.
    if not is_inside(path) or (scheme == "file" and os.path.isdir(_folder(path))):  # noqa: PTH112 - as below
        return Archives(_open(scheme, path, settings, on_links), None, settings)
    if scheme == "file":
        found = _folder(path)
        return Archives(Folder(found.parent), os.fsencode(found.name), settings)
    return Archives(_open(scheme, path, settings, on_links), path.partition("/")[2].encode(), settings)


def _open(scheme: str, rest: str, settings: Settings, on_links: Callable[[int], None]) -> Bucket | Folder:
    if scheme == "file":
        return Folder(_folder(rest), on_links)
    bucket, _, prefix = rest.partition("/")
    return Bucket(bucket, prefix, settings)


def _folder(path: str) -> Path:
    """Return the path unchanged; if there is no such folder, decode its %-escapes."""
    # Path.exists raises an error for a name that is too long, or a folder that may not be looked into.
    found = Path(path if os.path.exists(path) or "%" not in path else unquote(path))  # noqa: PTH110
    if "\0" in str(found):
        raise ConfigurationError(f"{path!r} isn't a folder: a path can't contain NUL")
    return found
