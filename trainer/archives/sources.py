"""Where a recipe's files come from: paths, packages, URLs and buckets. Nothing is opened before its sum is right.

A package is named, never imported: only the place of its files is asked for.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import re
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sluice.errors import BuildError, ConfigurationError, SourceError

DOWNLOAD_SECONDS: Final = 60
DOWNLOAD_MAX_BYTES: Final = 16 * 2**30
PIECE: Final = 1 << 20
PACKAGE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
URLS: Final = ("http://", "https://")


def sha256_of(path: Path) -> str:
    """Digest a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_file(source: str, sha256: str, base: Path, cache: Path) -> Path:
    """Return a recipe's weights as a file of that sum. Relative paths begin at `base`, `cache` keeps downloads."""
    if source.startswith("package:"):
        path = package_file(source)
    elif source.startswith("torchvision:"):
        path = _downloaded(_torchvision_url(source.removeprefix("torchvision:")), sha256, cache)
    elif source.startswith((*URLS, "s3://")):
        path = _downloaded(source, sha256, cache)
    else:
        path = base / Path(source).expanduser()
    if not path.is_file():
        raise BuildError(f"no weights at {path}: give --weights PATH_OR_URL, or --weights random:1 for measuring only")
    found = sha256_of(path)
    if found != sha256:
        raise BuildError(
            f"{path} has sha256 {found}, the recipe wants {sha256 or 'none yet'}: get the file that the recipe means, "
            f"or, if these weights are the ones you want, copy the recipe, give it a version of its own and this sha256"
        )
    return path


def package_file(source: str) -> Path:
    """Return the file that package:NAME/PATH means."""
    package, _, inside = source.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package) if PACKAGE.fullmatch(package) else None
    if spec is None or spec.origin is None:
        raise BuildError(f"{source} is a file of the Python package {package!r}: install it, or name another file")
    folder = Path(spec.origin).parent
    path = (folder / inside).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise BuildError(f"{source}: the package has no such file")
    return path


def _torchvision_url(name: str) -> str:
    from torchvision.models import get_weight  # noqa: PLC0415 - takes seconds

    try:
        return str(get_weight(name).url)
    except (ValueError, AttributeError, KeyError) as error:
        raise BuildError(
            f"torchvision has no weights {name!r}: expected such as ResNet18_Weights.IMAGENET1K_V1"
        ) from error


def _downloaded(url: str, sha256: str, cache: Path) -> Path:
    """Download once; a download cut short is never taken for a whole one."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", urlsplit(url).path.rpartition("/")[2])[-100:]
    path = cache / f"{sha256[:12]}-{name}"
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    shown = url.partition("?")[0]  # what follows may be a signature
    print(f"downloading {shown}", flush=True)
    try:
        if url.startswith("s3://"):
            _from_bucket(url, part)
        else:
            _from_web(url, part)
        part.rename(path)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise BuildError(
            f"{shown} can't be downloaded ({error}): fetch it elsewhere and give --weights PATH; efficientnet-lite0 "
            f"needs no download; --weights random:1 will do for measuring"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _from_web(url: str, part: Path) -> None:
    with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer, part.open("wb") as file:  # noqa: S310 - only http reaches this
        left = DOWNLOAD_MAX_BYTES
        while piece := answer.read(min(PIECE, left)):
            file.write(piece)
            left -= len(piece)
        if not left:
            raise OSError(f"it is larger than {DOWNLOAD_MAX_BYTES} bytes")


def _from_bucket(url: str, part: Path) -> None:
    try:
        from sluice.objects import files  # noqa: PLC0415 - brings boto3
        from sluice.settings import read_settings  # noqa: PLC0415 - the image of TorchServe has none
    except ImportError as error:
        raise BuildError(
            f"{url} needs {error.name}, which isn't installed here: fetch it with `sluice` elsewhere, and give "
            f"--weights PATH"
        ) from error
    try:
        bucket, key = files.split(url)
        with closing(files.BucketFiles(bucket, read_settings())) as opened:
            opened.download(key, part)
    except (SourceError, ConfigurationError) as error:
        raise BuildError(str(error)) from error
