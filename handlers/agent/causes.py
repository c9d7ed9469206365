"""Why a model's worker failed: TorchServe's API doesn't say, its logs do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from handlers.agent.shared import read_end

LOGS: Final = ("model_log.log", "ts_log.log")
CAUSE: Final = re.compile(r"\b((?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b: .*|.*[Oo]ut of memory.*)$")
SAYS_NOTHING: Final = "500 - Unknown exception"
"""What TorchServe makes of an error that it printed before."""
TAIL: Final = 64 * 1024
SHOWN: Final = 400


def cause_in_logs(logs: Path, about: str = "") -> str:
    """Return the last error that a worker printed, on a line that contains `about`; empty if there's none."""
    for name in LOGS:
        for line in reversed(_tail(logs / name)):
            found = CAUSE.search(line)
            if found and about in line and SAYS_NOTHING not in line:
                return found[1][:SHOWN]
    return ""


def _tail(path: Path) -> list[str]:
    try:
        return read_end(path, TAIL).decode(errors="replace").splitlines()
    except OSError:
        return []
