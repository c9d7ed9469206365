"""Model archives with a fault, for a real TorchServe: each raises, dies or hangs on images of one colour."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sluice.images import pack
from tools.stack import Leash, TorchServe, archive_of, card_of

RED: Final = (255, 0, 0)
GREY: Final = (128, 128, 128)

HANDLER: Final = '''
import os
import time

from sluice_handler import SluiceHandler


class Faulty(SluiceHandler):
    """What Sluice's own handler does, until it sees red."""

    def handle(self, data, context):
        if {bare!r} and b"\\xff\\x00\\x00" * 9 in b"".join(bytes(row["body"]) for row in data):
            self.go_wrong()
        return super().handle(data, context)

    def inference(self, images):
        sees_red = any(((image == (255, 0, 0)).all(axis=-1)).any() for image in images)
        if getattr(self, "initialized", False) and ({always!r} or sees_red):
            self.go_wrong()
        return super().inference(images)

    def go_wrong(self):
        {deed}
'''

DEEDS: Final = {
    "raises": 'raise ValueError("no red, please")',
    "fails": 'raise ValueError("an old handler, whose words TorchServe keeps to itself")',
    "dies": "os._exit(1)",
    "hangs": "time.sleep(3600)",
    "always-raises": 'raise ValueError("not today")',
}
"""What each model does. `fails` does it outside the code that Sluice's handler guards."""


def write_faulty(folder: Path, name: str) -> Path:
    """Write the archive of that name: noop, with that fault."""
    handler = HANDLER.format(bare=name == "fails", always=name.startswith("always"), deed=DEEDS[name])
    path = folder / f"{name}.mar"
    with zipfile.ZipFile(archive_of("noop")) as noop, zipfile.ZipFile(path, "w") as made:
        for part in noop.namelist():
            content = noop.read(part)
            if part == "model.json":
                content = json.dumps({**json.loads(content), "name": name}).encode()
            elif part == "MAR-INF/MANIFEST.json":
                manifest = json.loads(content)
                manifest["model"] |= {"modelName": name, "handler": "faulty.py"}
                content = json.dumps(manifest).encode()
            made.writestr(part, content)
        made.writestr("faulty.py", handler)
    return path


def picture(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Make an image of one colour, as a consumer sends it."""
    side = card_of(archive_of("noop"))["preprocessing"]["crop"]
    return np.full((side, side, 3), colour, np.uint8)


def packed(*colours: tuple[int, int, int]) -> bytes:
    """Pack images of these colours."""
    return bytes(pack([picture(colour) for colour in colours]))


class FaultyTorchServe(TorchServe):
    """A TorchServe with some of these models."""

    def __init__(self, folder: Path, leash: Leash, names: Sequence[str], **options: object) -> None:
        """Write their archives and serve each with one worker; `options` are a model's TorchServe settings."""
        folder = folder / f"faulty-{'-'.join(names)}"[:40]
        folder.mkdir()
        each = {"defaultVersion": True, "minWorkers": 1, "maxWorkers": 1, "batchSize": 1, "responseTimeout": 1}
        served = {name: {"1.0": {**each, **options, "marName": f"{name}.mar"}} for name in names}
        archives = [write_faulty(folder, name) for name in names]
        super().__init__(folder, leash, archives, options={"models": json.dumps(served)})

    @property
    def models(self) -> list[str]:
        """Return the models that become ready."""
        return [name for name in super().models if not name.startswith("always")]
