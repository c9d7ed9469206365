"""Stand-ins for the consumer's neighbours, for behaviour that the real ones don't show on demand."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from PIL import Image

from sluice.domain import Model
from sluice.images import unpack
from sluice.protocol import Bye, Credit, Done, Error, Failed, Hello, Message, Ping, Pong, Return, Work, WorkItem, encode
from sluice.protocol import decode as read_frames

PREPROCESSING = {"resize": 36, "crop": 32, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3}
LABELS = [f"label {number}" for number in range(256)]


def model(number: int = 1, digest: str = "d" * 64) -> Model:
    return Model(
        id=number,
        name="fake",
        version="1",
        digest=digest,
        preprocessing=PREPROCESSING,
        labels=LABELS,
        live=True,
    )


def png(red: int, green: int = 0, blue: int = 0, side: int = 40) -> bytes:
    """Return an image of one colour; the fake's label for it is its red value."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (red, green, blue)).save(file, "PNG")
    return file.getvalue()


def good(images: NDArray[np.uint8], digest: str = "d" * 64) -> tuple[int, Any]:
    """Return a working endpoint's answer: an image's label is the red value of its middle."""
    side = images.shape[1] // 2
    reds = [int(image[side, side, 0]) for image in images]
    return 200, {"model": "fake@1", "digest": digest, "predictions": [[[red, 0.75], [0, 0.25]] for red in reds]}


Answer = Callable[[NDArray[np.uint8]], tuple[int, Any]]


@dataclass
class FakeTorchServe:
    """An HTTP server that answers packed batches as `answer` says; `seen` has the size of each batch."""

    answer: Answer = good
    seen: list[int] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self, port: int = 0) -> Iterator[FakeTorchServe]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                images = unpack(self.rfile.read(int(self.headers["Content-Length"])))
                fake.seen.append(len(images))
                status, said = fake.answer(images)
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                # A client that timed out on purpose is gone by now.
                with suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class FakeProducer:
    """A ROUTER that leases what it is told to, in the test's own thread."""

    def __init__(self, port: int = 0) -> None:
        self._open(port)
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.hellos: list[bytes] = []
        self.limit = 0
        self.received = 0
        self.why = ""
        self.sent = 0
        self.done: set[int] = set()
        self.returned: set[int] = set()
        self.failed: dict[int, str] = {}
        self.errors: list[str] = []
        self.left = False
        self.answers_pings = True
        self.answers_bye = True

    def _open(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.router_mandatory = True
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])
        self.peer = b""

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def restart(self) -> None:
        """Restart as after a kill -9: with the same address, and without sessions."""
        self.close()
        self._open(self.port)

    def send(self, message: Message, payloads: list[bytes] | None = None) -> None:
        self.send_frames(encode(message, payloads or []))

    def send_frames(self, frames: list[bytes]) -> None:
        self._socket.send_multipart([self.peer, *frames])

    def lease(
        self,
        objects: dict[int, bytes],
        *,
        model_id: int = 1,
        job: int = 1,
        alone: bool = False,
        trial: int = 0,
        deaths: int = 0,
    ) -> None:
        items = [
            WorkItem(
                id=number,
                job=job,
                model=model_id,
                source="file:///nowhere",
                key=b"key",
                etag="etag",
                size=len(data),
                inline=True,
                alone=alone,
                trial=trial,
                deaths=deaths,
            )
            for number, data in objects.items()
        ]
        self.sent += len(items)
        self.send(Work(items=items), list(objects.values()))

    def until(self, ready: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Receive until a condition holds; return False if it doesn't in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                return False
            if self._socket.poll(20):
                self._hear(self._socket.recv_multipart())
        return True

    def _hear(self, frames: list[bytes]) -> None:  # noqa: C901 - one branch a kind
        sender, *rest = frames
        message, _ = read_frames(rest)
        if isinstance(message, Hello):
            self.peer = sender
            self.hellos.append(sender)
            self.limit = self.received = self.sent = 0
        elif sender != self.peer:
            self._socket.send_multipart([sender, *encode(Error(code="unknown_session", detail=""))])
            return
        match message:
            case Credit():
                assert message.limit >= self.limit, "credit fell"
                self.limit, self.received, self.why = message.limit, message.received, message.why
            case Ping() if self.answers_pings:
                self.send(Pong())
            case Done():
                self.done.update(message.ids)
            case Return():
                self.returned.update(message.ids)
            case Failed():
                self.failed.update({failure.id: failure.reason for failure in message.failures})
            case Bye():
                self.left = True
                if self.answers_bye:
                    self.send(Bye())
            case Error():
                self.errors.append(message.code)
            case _:
                pass
