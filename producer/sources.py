"""The sources of running jobs, each opened once, and how well they answer."""

from __future__ import annotations

from functools import partial

from producer.messages import JobMessages
from sluice.errors import ConfigurationError
from sluice.objects import Source, open_source
from sluice.objects.aws import AWS_ERRORS, open_s3, open_session
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

# A single object may fail for a moment; only if nothing else succeeds the source is at fault.
FAILURES_TOLD = 3


class JobSources:
    """Opens sources, and tracks their failures."""

    def __init__(self, settings: Settings, messages: JobMessages) -> None:
        self._settings = settings
        self._messages = messages
        self._open: dict[str, Source] = {}
        self._failures: dict[int, int] = {}

    def get(self, source: str) -> Source:
        """Return an open source."""
        if source not in self._open:
            self._open[source] = open_source(source, self._settings, partial(_tell_links, source))
        return self._open[source]

    def trouble(self, job: int, why: str) -> int:
        """Record a failure to list or read; return how many there were since the last success."""
        times = self._failures[job] = self._failures.get(job, 0) + 1
        if times == FAILURES_TOLD:
            log.warning("source does not answer", job=job, error=why)
            self.say(job, why)
        return times

    def fine(self, job: int) -> None:
        """Record a success."""
        if self._failures.pop(job, None):
            self.say(job, "")

    def say(self, job: int, message: str) -> None:
        """Set the job's message about its source; empty if nothing is wrong."""
        self._messages.say(job, "source", message)

    def keep(self, wanted: set[str]) -> None:
        """Close the sources that no running job needs."""
        for source in [source for source in self._open if source not in wanted]:
            self._open.pop(source).close()

    def close(self) -> None:
        """Close all of them."""
        self.keep(set())


def why_unusable(settings: Settings) -> str:
    """Return why jobs in S3 would wait for these settings of the process; empty if they are sound. Asks no server."""
    try:
        open_s3(open_session(settings), settings).close()
    except (ConfigurationError, *AWS_ERRORS) as error:
        return f"jobs in S3 will wait, because this process's settings can't be used: {error}"
    return ""


def _tell_links(source: str, count: int) -> None:
    log.warning("links are left out", source=source, links=count, why="they lead out of the folder, or to no file")
