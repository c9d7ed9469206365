"""How dropped pictures lie in the store: on shelves by time, each named by the last day that anything is put there.

A picture that is dropped again after that day goes on a later shelf, under another key. So whoever clears an old shelf
never meets a picture that is just being put there, and nobody has to wait, however slow, frozen or dead either is.
"""

from __future__ import annotations

from datetime import date
from typing import Final

PARTS: Final = 10
"""A shelf is filled for this part of the time that it is kept: its first pictures are kept for so much longer."""
LONGEST_DAYS: Final = 30
"""Of a shelf that is kept for ever."""


def shelf_of(today: date, keep_days: int) -> str:
    """Return the shelf that pictures are put on today."""
    days = max(1, keep_days // PARTS) if keep_days else LONGEST_DAYS
    return date.fromordinal((today.toordinal() // days + 1) * days - 1).isoformat()


def is_over(shelf: str, today: date, keep_days: int) -> bool:
    """Return whether everything on a shelf was kept for so many days; what has no shelf's name is never over."""
    try:
        last = date.fromisoformat(shelf)
    except ValueError:
        return False
    return keep_days > 0 and (today - last).days > keep_days
