"""One load step in its own process: so many people for so many seconds, with locust; prints JSON.

gevent patches the standard library of the whole process, so nothing else is measured or served here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import gevent
import gevent.monkey

gevent.monkey.patch_all()

from locust import FastHttpUser, between, task  # noqa: E402 - after the patch, which must come first
from locust.env import Environment  # noqa: E402 - the same

from tools.load.pictures import JPEG, distinct, pictures  # noqa: E402 - the same

REFUSALS: Final = (429, 503)
OK: Final = 200
SECONDS_MAX: Final = 60.0
"""Timeout of one request: nobody looks at a page for longer."""


class Tally:
    """The answers, by kind."""

    def __init__(self, *, must_say_when: bool) -> None:
        self._must_say_when = must_say_when
        self._began = time.monotonic()
        self.answered: list[float] = []
        self.refused: list[float] = []
        """When, since the beginning."""
        self.failed: dict[str, int] = {}

    def add(self, status: int, said_when: bool, seconds: float, why: str) -> None:  # noqa: FBT001 - read in one place
        """Count one answer; a refusal without a time to retry is a failure."""
        if status == OK:
            self.answered.append(seconds)
        elif status in REFUSALS and (said_when or not self._must_say_when):
            self.refused.append(time.monotonic() - self._began)
        else:
            kind = f"{status} {why}"[:200]
            self.failed[kind] = self.failed.get(kind, 0) + 1


def user_class(arguments: argparse.Namespace, tally: Tally) -> type[FastHttpUser]:
    """Return a person who sends a picture, looks at the answer for some seconds, and sends another."""
    photos = pictures(arguments.photos)
    numbers = itertools.count()
    pause = between(arguments.least, arguments.most)

    class PictureSender(FastHttpUser):
        host = arguments.url
        wait_time = pause
        network_timeout = SECONDS_MAX
        connection_timeout = SECONDS_MAX

        @task
        def send(self) -> None:
            """Send one picture."""
            data = distinct(next(photos), f"{arguments.seed} {next(numbers)}")
            began = time.perf_counter()
            sent: Any = data  # locust's types only allow text; bytes are sent unchanged
            with self.client.post(arguments.path, data=sent, headers=JPEG, catch_response=True) as answer:
                status = int(answer.status_code or 0)
                headers = answer.headers or {}
                tally.add(
                    status,
                    "Retry-After" in headers,
                    time.perf_counter() - began,
                    str(answer.request_meta.get("exception") or ""),
                )
                answer.success()

    return PictureSender


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of all values doesn't exceed."""
    in_order = sorted(values)
    return in_order[min(len(in_order) - 1, int(len(in_order) * share))] if in_order else 0.0


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the step."""
    tally = Tally(must_say_when=not arguments.direct)
    environment = Environment(user_classes=[user_class(arguments, tally)])
    runner = environment.create_local_runner()
    began = time.monotonic()
    runner.start(arguments.users, spawn_rate=max(arguments.users / 2, 1))
    gevent.sleep(arguments.seconds)
    runner.quit()
    seconds = time.monotonic() - began
    return {
        "users": arguments.users,
        "seconds": seconds,
        "answered": len(tally.answered),
        "rate": len(tally.answered) / seconds,
        "refused": len(tally.refused),
        "last_refusal": max(tally.refused, default=0.0),
        "failed": tally.failed,
        "p50": percentile(tally.answered, 0.5),
        "p95": percentile(tally.answered, 0.95),
    }


def main() -> int:
    """Read the step and run it."""
    parser = argparse.ArgumentParser(prog="python -m tools.load.swarm", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--photos", required=True, type=Path)
    parser.add_argument("--users", required=True, type=int)
    parser.add_argument("--seconds", required=True, type=float)
    parser.add_argument("--least", type=float, default=1.0, help="seconds between two pictures of a person, at least")
    parser.add_argument("--most", type=float, default=5.0, help="and at most")
    parser.add_argument("--seed", required=True, help="makes this step's pictures different from all others'")
    parser.add_argument("--direct", action="store_true", help="TorchServe itself, which doesn't say when to come back")
    print(json.dumps(run(parser.parse_args())))
    sys.stdout.flush()
    os._exit(0)  # don't wait for greenlets that still wait for an answer


if __name__ == "__main__":
    sys.exit(main())
