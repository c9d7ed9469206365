"""People who ask TorchServe through the load balancer while something else happens."""

from __future__ import annotations

import io
import threading
from types import TracebackType
from typing import Final, Self

import requests
from PIL import Image

from tests.cluster.tools import Release

PAUSE: Final = 0.2
TIMEOUT: Final = 30.0
MOST: Final = 5000


class Asking:
    """Asks for one photo's labels again and again, each time on a new connection; notes every failure."""

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
