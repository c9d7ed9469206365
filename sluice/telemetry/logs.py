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
    """Standard error, where it may be a file on a full disk or a pipe that nobody reads: work goes on without the log.

    Some of the lines that found no room are kept by the stream below, and come once there is room.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or count that it can't be."""
        with self._tolerant():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or count that it can't be."""
        with self._tolerant():
            self._stream.flush()

    def isatty(self) -> bool:
        """Return whether a person reads it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor, for what must write without Python."""
        return self._stream.fileno()

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            metrics.LOG_FAILURES.inc()


class CurrentStderr(io.TextIOBase):
    """Standard error as it is when a line is written: loggers outlive what it was when they were made."""

    def write(self, text: str) -> int:
        """Write to what is standard error now."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush what is standard error now."""
        sys.stderr.flush()


def configure(settings: Settings) -> None:
    """Log as the settings say; other libraries' warnings come along. Standard error never fails from then on."""
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
