"""What the value of a setting may be besides its type: numbers that no calculation overflows with, and whole URLs."""

from __future__ import annotations

import re
from typing import Final

SECONDS: Final = (0.001, 86_400.0)
"""All settings that are fractions are seconds; those that may be 0 mean something else by it."""
DAYS_MAX: Final = 36_500
MOST: Final = {"bytes": 2**50, "days": DAYS_MAX, "threads": 1024, "concurrency": 1024}
"""How large a whole number may be, by the last word of its setting's name; others: MOST_OF_OTHERS."""
MOST_OF_OTHERS: Final = 10**9
URLS: Final = frozenset({"s3_endpoint", "agent_management", "gateway_url", "gateway_oidc_issuer"})
URL: Final = re.compile(r"https?://[^/\s]\S*", re.IGNORECASE)


def check(name: str, value: object) -> object:
    """Return the value of a setting, or raise a ValueError that says what is expected."""
    if isinstance(value, float) and value and not SECONDS[0] <= value <= SECONDS[1]:
        raise ValueError(f"expected {SECONDS[0]:g} to {SECONDS[1]:g} seconds")
    most = MOST.get(name.rpartition("_")[2], MOST_OF_OTHERS)
    if isinstance(value, int) and value > most:
        raise ValueError(f"expected {most} at most")
    if name in URLS and isinstance(value, str) and value and not URL.fullmatch(value):
        raise ValueError(f"{value!r} is no URL: expected http://host:port or https://host")
    return value
