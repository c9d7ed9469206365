"""Structured logs on standard error: lines for people, or JSON for machines."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from sluice.telemetry import metrics

if TYPE_CHECKING:
    from sluice.settings import Settings


class LogStream(io.TextIOBase):
    """Standard error that never fails: if it is a file on a full disk or an unread pipe, lines are lost.

    The stream below keeps some of the lines that couldn't be written, and writes them once there is space.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or count the failure."""
        with self._tolerant():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or count the failure."""
        with self._tolerant():
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor, for code that writes without Python."""
        return self._stream.fileno()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            metrics.LOG_FAILURES.inc()


class CurrentStderr(io.TextIOBase):
    """The current standard error, looked up for each line, since loggers outlive their first stream."""

    def write(self, text: str) -> int:
        """Write to the current standard error."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the current standard error."""
        sys.stderr.flush()


def configure(settings: Settings) -> None:
    """Log as the settings say, including warnings of other libraries. From then on standard error never fails."""
    if not isinstance(sys.stderr, LogStream):
        sys.stderr = LogStream(sys.stderr)  # for `print` and tracebacks, too
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
        if settings.log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", CurrentStderr())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *renderers,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)


def get_logger() -> Any:  # noqa: ANN401 - structlog's loggers have no narrower type before they are bound
    """Return the process's logger."""
    return structlog.get_logger()
