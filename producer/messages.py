"""What is to stand in `jobs.message`: for each job, of all that it waits for, what is the matter first of all."""

from __future__ import annotations

from typing import Final

TOPICS: Final = ("ledger", "model", "source", "consumers")
"""The first that has something to say is heard: a job without a model needs no consumer yet."""


class JobMessages:
    """Collects what parts say of jobs, and gives what changed. The control loop writes it."""

    def __init__(self) -> None:
        self._said: dict[int, dict[str, str]] = {}
        self._told: dict[int, str] = {}

    def say(self, job: int, topic: str, message: str) -> None:
        """Say what a job waits for; an empty message says that it waits no more."""
        self._said.setdefault(job, {})[topic] = message

    def adopt(self, job: int, message: str) -> None:
        """Take over what an earlier producer left in a job's row: it goes, unless somebody says so again."""
        self._told.setdefault(job, message)
        self._said.setdefault(job, {})

    def take(self, jobs: set[int]) -> dict[int, str]:
        """Return the messages that changed since the last time. `jobs` are those under way; the others wait no more."""
        changed: dict[int, str] = {}
        for job in [job for job in {**self._said, **self._told} if job not in jobs]:
            self._said.pop(job, None)
            if self._told.pop(job, ""):
                changed[job] = ""
        for job, topics in self._said.items():
            message = next((topics[topic] for topic in TOPICS if topics.get(topic)), "")
            if message != self._told.get(job, ""):
                self._told[job] = changed[job] = message
        return changed
