"""Drawings of food and of animals by four artists, 64 by 64 pixels: the npm packages emoji-datasource-ARTIST.

They are fetched once, with npm, and only the drawings are kept, in the cache: they belong to their artists, and no copy
of them is part of this project. Some 290 an artist, each of the same things.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from sluice.objects.whole_files import written_whole
from tools.cache import cache_folder
from tools.stack import StackError

VERSION: Final = "16.0.0"
SHA512: Final = {
    "apple": "dVYjsK0FnCry9F+PBtnivhG2K0xdwlmqYaSgiUtztUdAGPYiHYhZcVKvNBqC791g2qyEcFNTBO6utg4eQ3uLTw==",
    "google": "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
    "twitter": "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    "facebook": "b9ZxJdB7nMWGckH1vyCjPSosaa6MJYuojPPFiQ0LmDIZS8vlG454XKcmTFKrXIMAA72O4MRJMYFhvWI8pjyciQ==",
}
"""The packages' digests, as the registry has them (`npm view PACKAGE dist.integrity`)."""
ARTISTS: Final = tuple(SHA512)
LABELS: Final = {"Food & Drink": "food", "Animals & Nature": "animals"}
FETCH_SECONDS: Final = 600.0


def drawings(artist: str) -> dict[str, bytes]:
    """Return an artist's drawings by LABEL/name.png; fetches them if the cache hasn't got them."""
    kept = cache_folder() / "emoji" / f"{artist}-{VERSION}.zip"
    if not kept.exists():
        found = _fetched(artist)
        with written_whole(kept) as part, zipfile.ZipFile(part, "w") as opened:
            for name, data in found.items():
                opened.writestr(name, data)
    with zipfile.ZipFile(kept) as opened:
        return {name: opened.read(name) for name in sorted(opened.namelist())}


def _fetched(artist: str) -> dict[str, bytes]:
    package = f"emoji-datasource-{artist}@{VERSION}"
    print(f"fetching {package}", flush=True)
    with tempfile.TemporaryDirectory(prefix="sluice-emoji-") as folder:
        try:
            command = ["npm", "pack", "--silent", package]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
            data = Path(folder, f"emoji-datasource-{artist}-{VERSION}.tgz").read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise StackError(f"npm can't fetch {package} ({error}): is npm there, and a registry?") from error
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512[artist]:
        raise StackError(f"{package} is not the package known: see tools/labelled/emoji.py")
    return _drawn(data, artist)


def _drawn(package: bytes, artist: str) -> dict[str, bytes]:
    """Return the drawings of a package, in folders by category."""
    with tarfile.open(fileobj=io.BytesIO(package)) as files:
        members = {member.name: member for member in files if member.isfile()}

        def read(name: str) -> bytes:
            opened = files.extractfile(members[f"package/{name}"])
            assert opened is not None  # noqa: S101 - it is a file
            return opened.read()

        return {
            f"{LABELS[each['category']]}/{each['image']}": read(f"img/{artist}/64/{each['image']}")
            for each in json.loads(read("emoji.json"))
            if each["category"] in LABELS and each[f"has_img_{artist}"]
        }
