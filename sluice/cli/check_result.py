"""The result of checking one invariant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

ROWS_SHOWN: Final = 10
"""Number of rows to name of those that break an invariant."""


@dataclass
class CheckResult:
    """The result of checking one invariant."""

    verified: bool = False
    breaches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
