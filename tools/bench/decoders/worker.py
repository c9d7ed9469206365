"""Decodes files by one way: paths on standard input, a line of JSON for each on standard output."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np

from tools.bench.decoders.ways import WAYS, one_thread


def main() -> None:
    """Decode until the input ends; the last argument is a folder for the pixels."""
    name, folder = sys.argv[1:]
    one_thread()
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    for line in sys.stdin:
        path = Path(line.rstrip("\n"))
        data = path.read_bytes()
        # What was freed before is given back, and the highest size so far forgotten.
        trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _mib("VmRSS")
        began = time.perf_counter()
        pixels = WAYS[name](data)
        seconds = time.perf_counter() - began
        peak = _mib("VmHWM") - before
        np.save(Path(folder) / f"{name}-{path.name}.npy", pixels)
        print(json.dumps({"ms": 1000 * seconds, "peak_mib": peak}), flush=True)


def _mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
