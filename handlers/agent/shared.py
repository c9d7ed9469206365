"""Reading in the folder that is shared with TorchServe, where the code of models may put whatever it wants."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_end(path: Path, most: int) -> bytes:
    """Return the last bytes of a file; OSError if it is a link, which leads elsewhere, or a pipe."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file")
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read(most)
