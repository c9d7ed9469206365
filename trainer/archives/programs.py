"""Programs of torch.export for an archive: what was checked is written anew, so that no pickle is left in the file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Final

from handlers.programs import GRAPH, SAMPLE, Program
from trainer.archives.zips import add

TOP: Final = "program/"
MARKS: Final = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little", ".data/version": b"6\n"}
"""What torch looks for first: that this is such a file, and how its numbers are written."""


def write_program(source: Path, program: Program, path: Path) -> None:
    """Write a checked program: its numbers as they are, its graph as it was found harmless, its sample inputs empty."""
    with zipfile.ZipFile(source) as opened, zipfile.ZipFile(path, "w") as made:
        for name, data in MARKS.items():
            add(made, f"{TOP}{name}", data)
        for name, member in sorted(program.numbers.items()):
            add(made, f"{TOP}{name}", opened.read(member))
        for name, told in program.payloads.items():
            add(made, f"{TOP}{name}", json.dumps(told).encode())
        add(made, f"{TOP}{SAMPLE}", b"")
        add(made, f"{TOP}{GRAPH}", json.dumps(program.graph).encode())
