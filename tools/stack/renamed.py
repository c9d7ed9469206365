"""Archives of served models under another name, as somebody may publish them; changed, if wanted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.stack.torchserve import archive_of
from trainer.archives.zips import add

MANIFEST = "MAR-INF/MANIFEST.json"
Change = Callable[[dict[str, bytes]], None]


def members(name: str, version: str, model: str = "noop") -> dict[str, bytes]:
    """Return the members of a served model's archive, under another name and version."""
    with zipfile.ZipFile(archive_of(model)) as opened:
        found = {each: opened.read(each) for each in opened.namelist()}
    card, manifest = json.loads(found["model.json"]), json.loads(found[MANIFEST])
    manifest["model"].update(modelName=name, modelVersion=version)
    found["model.json"] = json.dumps({**card, "name": name, "version": version}).encode()
    found[MANIFEST] = json.dumps(manifest).encode()
    return found


def write(path: Path, found: Mapping[str, bytes]) -> Path:
    """Write an archive as the builder does."""
    with zipfile.ZipFile(path, "w") as made:
        for name, data in found.items():
            add(made, name, data)
    return path


def renamed(folder: Path, name: str, version: str, model: str = "noop", change: Change = lambda _: None) -> Path:
    """Write a served model's archive under another name and version, perhaps changed."""
    found = members(name, version, model)
    change(found)
    return write(folder / f"{name}-{version}.mar", found)
