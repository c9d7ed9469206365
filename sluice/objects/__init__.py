"""Where objects come from: an S3 bucket, or a local folder. Lists and reads them; knows nothing of jobs or leases."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from sluice.domain import check_source
from sluice.errors import ConfigurationError
from sluice.objects.folder import Folder
from sluice.objects.s3 import Bucket
from sluice.objects.source import ObjectChanged, Source
from sluice.settings import Settings

__all__ = ["Bucket", "Folder", "ObjectChanged", "Source", "open_source"]


def open_source(source: str, settings: Settings) -> Source:
    """Return the source that a job names: s3://bucket[/prefix] or file:///absolute/folder."""
    scheme, _, rest = check_source(source).partition("://")
    if scheme == "file":
        return Folder(_folder(rest))
    bucket, _, prefix = rest.partition("/")
    return Bucket(bucket, prefix, settings)


def _folder(path: str) -> Path:
    """Take the path as it stands; where no such folder is, as a URL with %-escapes."""
    plain = Path(path)
    found = plain if plain.is_dir() or "%" not in path else Path(unquote(path))
    if "\0" in str(found):
        raise ConfigurationError(f"{path!r} is no folder: a path has no NUL in it")
    return found
