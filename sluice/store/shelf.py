"""Where published archives lie: a prefix in S3, or a folder that all see. Both keep them at NAME/VERSION/SHA256.mar."""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

from sluice.domain import check_source
from sluice.errors import ConfigurationError, SourceError, SourceMissing
from sluice.objects.files import SCHEME, BucketFiles, split
from sluice.objects.whole_files import path_of, written_whole
from sluice.settings import Settings

SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ModelStore:
    """What is below SLUICE_MODEL_STORE."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet."""
        if not settings.model_store:
            raise ConfigurationError(
                "there is no place for models: set SLUICE_MODEL_STORE to s3://bucket/prefix/ or file:///folder/"
            )
        self._settings = settings
        self._url = check_source(settings.model_store).rstrip("/") + "/"

    def url(self, name: str, version: str, sha256: str) -> str:
        """Return where an archive lies, or will lie."""
        if not SHA256.fullmatch(sha256):
            raise ConfigurationError(f"{name}@{version} has no sha256 that an archive could have: publish it again")
        return f"{self._url}{name}/{version}/{sha256}.mar"

    def put(self, archive: Path, name: str, version: str, sha256: str) -> None:
        """Put an archive there; it is seen when it is whole."""
        url = self.url(name, version, sha256)
        if url.startswith(SCHEME):
            bucket, key = split(url)
            with closing(BucketFiles(bucket, self._settings)) as opened:
                opened.upload(archive, key)
            return
        place = path_of(url)
        try:
            with written_whole(place) as part:
                shutil.copyfile(archive, part)
        except OSError as error:
            raise SourceError(f"{place} can't be written: {error.strerror}: check SLUICE_MODEL_STORE") from error

    def fetch(self, name: str, version: str, sha256: str, path: Path) -> None:
        """Copy an archive to a file; ConfigurationError if its bytes aren't those that were published."""
        url = self.url(name, version, sha256)
        if url.startswith(SCHEME):
            bucket, key = split(url)
            try:
                files = BucketFiles(bucket, self._settings)
            except ConfigurationError as error:  # this process's own, whatever the archive is
                raise SourceError(f"{url} can't be read: {error}") from error
            with closing(files) as opened:
                opened.download(key, path)
        else:
            try:
                shutil.copyfile(path_of(url), path)
            except FileNotFoundError as error:
                raise SourceMissing(f"{url} can't be read: there is no such file") from error
            except OSError as error:
                raise SourceError(f"{url} can't be read: {error.strerror}") from error
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise ConfigurationError(
                f"{url} has sha256 {found[:12]}, not the one that was published: publish the archive again"
            )
