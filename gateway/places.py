"""Work that only so much of is done at once, in all and for one person; others are told when to come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sluice.errors import Busy


class Places:
    """So many places, of which one person takes so many at most."""

    def __init__(self, most: int, what: str, seconds: int, most_each: int | None = None) -> None:
        """`what` says for people what takes the places."""
        self._most = most
        self._most_each = most if most_each is None else most_each
        self._what = what
        self._seconds = seconds
        self._taken: Counter[int] = Counter()

    def check(self, person_id: int = 0) -> None:
        """Raise Busy if there is no place for a person now."""
        if self._taken.total() >= self._most:
            raise Busy(f"{self._what}: at most {self._most} at once, try again in a while", self._seconds)
        if self._taken[person_id] >= self._most_each:
            raise Busy(f"{self._what}: at most {self._most_each} of yours at once, try again after them", self._seconds)

    @contextmanager
    def take(self, person_id: int = 0) -> Iterator[None]:
        """Take a place; whether there is one was checked."""
        self._taken[person_id] += 1
        try:
            yield
        finally:
            self._taken[person_id] -= 1
            self._taken += Counter()  # forgets whoever has none

    @contextmanager
    def hold(self, person_id: int = 0) -> Iterator[None]:
        """Check that there is a place, and take it."""
        self.check(person_id)
        with self.take(person_id):
            yield
