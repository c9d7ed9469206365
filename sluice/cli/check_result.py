"""What `sluice check` and its parts say of one invariant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ROWS_SHOWN: Final = 10
"""Rows that are named of those which break an invariant."""


@dataclass
class CheckResult:
    """What was found out about one invariant."""

    verified: bool = False
    breaches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
