"""A small file system in memory that can be filled and enlarged: a full disk, without filling a real one."""

from __future__ import annotations

import errno
import subprocess
from pathlib import Path
from typing import Final

from tools.stack.server import StackError

CHUNKS: Final = (64 * 1024, 4096, 1)


class SmallDisk:
    """A file system of so many megabytes, for a folder."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._ballast = folder / "ballast"

    def mount(self) -> None:
        """Mount it on its folder, which is created if necessary; raises StackError if this process may not mount."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._mount("-t", "tmpfs", "-o", f"size={self._megabytes}m", "tmpfs")

    def unmount(self) -> None:
        """Unmount it lazily; processes that use it keep their files until they end."""
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def fill(self) -> None:
        """Use all the remaining space."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in CHUNKS:
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Free the space that `fill` used."""
        self._ballast.unlink()

    def enlarge(self, megabytes: int) -> None:
        """Enlarge it, like a volume."""
        self._mount("-o", f"remount,size={megabytes}m")

    def _mount(self, *words: str) -> None:
        done = subprocess.run(["mount", *words, self.folder], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackError(f"no file system can be mounted here: {done.stderr.strip()}")
