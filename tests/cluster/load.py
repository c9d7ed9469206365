"""Continuous load during other events: jobs, and people who query TorchServe through the load balancer."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import requests
from PIL import Image

from tests.cluster.releases import Release, is_among, wait_until

PHOTOS: Final = 300
REPEATS: Final = 3
SIZE: Final = PHOTOS * REPEATS
AHEAD: Final = SIZE
LOOK_SECONDS: Final = 0.5
PAUSE: Final = 0.2
TIMEOUT: Final = 30.0
MOST: Final = 5000


class Load:
    """Submits job after job, so that there is always work; in the end each job must finish by itself.

    A job of a fixed size would be over too soon on one machine, and take too long on another.
    """

    def __init__(self, release: Release, source: str) -> None:
        self.jobs: list[int] = []
        self._release = release
        self._command = (source, "--model", "noop@1.0", "--repeat", str(REPEATS))
        self._over = threading.Event()
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self.jobs.append(self._release.submit(*self._command))
        self._submitting = self._thread.submit(self._submit)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._submitting.result()
        self._thread.shutdown()

    @property
    def objects(self) -> int:
        """Return how many objects its jobs have."""
        return len(self.jobs) * SIZE

    @property
    def done(self) -> int:
        """Return how many of them have a prediction."""
        return int(self._ask("COALESCE(SUM(done), 0)"))

    def check(self) -> None:
        """Wait until all jobs have ended; check each photo's number of predictions, and the invariants."""
        wait_until(lambda: self._ask("SUM(state <> 'done')") == "0", "its jobs end", 600, LOOK_SECONDS)
        self._release.check(self.jobs, PHOTOS, REPEATS)

    def _submit(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if self.objects - self.done < AHEAD:
                # While the database is away there is none this time.
                self.jobs += self._release.try_submit(*self._command)

    def _ask(self, what: str) -> str:
        return self._release.sql(f"SELECT {what} FROM job_progress WHERE {is_among(self.jobs)}")[0][0]


class Asking:
    """Requests one photo's labels repeatedly, each time on a new connection; records every failure."""

    def __init__(self, release: Release, model: str = "noop") -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._url = f"{release.address}/predictions/{model}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        picture = io.BytesIO()
        Image.new("RGB", (320, 240), (90, 120, 40)).save(picture, "JPEG")
        self._picture = picture.getvalue()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(PAUSE) and self.answers < MOST:
            try:
                answer = requests.put(self._url, data=self._picture, timeout=TIMEOUT)
            except requests.RequestException as error:
                self.failures.append(str(error))
                continue
            if answer.ok:
                self.answers += 1
            else:
                self.failures.append(f"{answer.status_code} {answer.text[:200]}")
