"""The content of `jobs.message`: for each job, the most important thing that it waits for."""

from __future__ import annotations

from typing import Final

TOPICS: Final = ("ledger", "moved", "model", "source", "consumers")
"""The first topic with a message is shown: for example, a job without a model needs no consumer yet."""


class JobMessages:
    """Collects messages of all parts about jobs, and returns the changed ones. The control loop writes them."""

    def __init__(self) -> None:
        self._said: dict[int, dict[str, str]] = {}
        self._told: dict[int, str] = {}

    def say(self, job: int, topic: str, message: str) -> None:
        """Set what a job waits for; an empty message means nothing."""
        self._said.setdefault(job, {})[topic] = message

    def adopt(self, job: int, message: str) -> None:
        """Take over the message of an earlier producer: it is removed unless some part sets it again."""
        self._told.setdefault(job, message)
        self._said.setdefault(job, {})

    def take(self, jobs: set[int]) -> dict[int, str]:
        """Return the messages that changed since the last call. `jobs` are the active ones; others wait for nothing."""
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
