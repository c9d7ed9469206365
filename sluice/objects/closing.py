"""Closes what is read from after the last read: a source may be closed at any time, and its reads end as they began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sluice.errors import SourceError


class ClosedAfterReads:
    """Counts the reads in progress. Use it on the event loop's thread; only `is_closed` may be asked elsewhere."""

    def __init__(self, what: str, let_go: Callable[[], None]) -> None:
        """`what` is closed by `let_go`, which is called once or more often."""
        self._what = what
        self._let_go = let_go
        self._readers = 0
        self._is_closing = False
        self.is_closed = False

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep it open during a read."""
        if self.is_closed:
            raise self.gone()
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            self._close_if_unused()

    def close(self) -> None:
        """Close it after the reads in progress."""
        self._is_closing = True
        self._close_if_unused()

    def gone(self) -> SourceError:
        """Return the error for a read that begins too late."""
        return SourceError(f"{self._what} was closed meanwhile: it is opened again when it is needed")

    def _close_if_unused(self) -> None:
        if self._is_closing and not self._readers:
            self.is_closed = True
            self._let_go()
