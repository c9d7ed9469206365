"""One blocking request to one TorchServe endpoint. The balancer chooses the endpoint and handles failures."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import requests
import urllib3
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from sluice.domain import Model
from sluice.errors import BatchRefused, EndpointDown, Exhausted, InferenceError, Overloaded, TimedOut
from sluice.images import BATCH_TYPE, CARD_TYPE
from sluice.inference.wire import (
    WORKER_DIED,
    Answer,
    Explanation,
    Refusal,
    explanation_path,
    fault,
    parse,
    parse_explanation,
    path,
)
from sluice.settings import Settings

CONNECT_SECONDS: Final = 3.0
ANSWER_MAX_BYTES: Final = 4 * 1024 * 1024
LINES_PER_THREAD: Final = 64
CHUNK: Final = 64 * 1024

# For these the endpoint is wrong, whatever the batch: no such model, no permission, or not a TorchServe.
WRONG_ENDPOINT: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
FULL: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
LATE: Final = (requests.Timeout, urllib3.exceptions.ReadTimeoutError)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of TorchServe: `url` to connect to, and `host`, the name that was resolved to it."""

    url: str
    host: str

    @property
    def is_tls(self) -> bool:
        """Return whether the name must be verified with a certificate."""
        return self.url.startswith("https://")


class _NamedAdapter(HTTPAdapter):
    """Connects to an address, and verifies the certificate for the name that was resolved to it."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:  # noqa: FBT001, FBT002 - requests calls it so
        super().init_poolmanager(
            connections, maxsize, block, server_hostname=self._name, assert_hostname=self._name, **kwargs
        )


class _Line:
    """One thread's connection with an endpoint. Each kind of request is prepared once, and gets another body each time.

    Preparing takes as long as sending does, and every batch of every process is sent here.
    """

    def __init__(self, endpoint: Endpoint, token: SecretStr | None) -> None:
        self._endpoint = endpoint
        self._session = requests.Session()
        # No proxy and no .netrc: endpoints are in the same network, and each request would look these up.
        self._session.trust_env = False
        if endpoint.is_tls:
            self._session.mount(endpoint.url, _NamedAdapter(endpoint.host.rsplit(":", 1)[0]))
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        self._adapter = self._session.get_adapter(endpoint.url)
        self._prepared: dict[tuple[str, str], requests.PreparedRequest] = {}

    def send(
        self, where: str, content_type: str, body: bytes | bytearray, timeout: tuple[float, float]
    ) -> requests.Response:
        """Return the answer, of which only the head was read. Redirects aren't followed."""
        kind = where, content_type
        if kind not in self._prepared:
            headers = {"Content-Type": content_type, "Host": self._endpoint.host}
            self._prepared[kind] = self._session.prepare_request(
                requests.Request("POST", self._endpoint.url + where, headers=headers)
            )
        request = self._prepared[kind].copy()
        request.body = cast("bytes", body)  # any buffer is sent without a copy
        request.headers["Content-Length"] = str(len(body))
        return self._adapter.send(request, stream=True, timeout=timeout)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


class TorchServeClient:
    """Keeps a connection per thread and endpoint; may be used from many threads."""

    def __init__(self, settings: Settings) -> None:
        self.timeout = settings.torchserve_timeout
        self.token = settings.torchserve_token
        self._local = threading.local()

    def predict(
        self, endpoint: Endpoint, model: Model, body: bytes | bytearray, count: int, timeout: float | None = None
    ) -> list[Answer | Refusal]:
        """Return the answers for a packed batch of `count` images, or raise one of the InferenceErrors."""
        answer = self._post(endpoint, path(model), BATCH_TYPE, body, timeout or self.timeout)
        return parsed(endpoint, answer, model, count)

    def explain(self, endpoint: Endpoint, model: Model, body: bytes | bytearray) -> Explanation | Refusal:
        """Return what the best class of the one image in `body` was recognised by, or raise an InferenceError."""
        answer = self._post(endpoint, explanation_path(model), BATCH_TYPE, body, self.timeout)
        try:
            return parse_explanation(answer, model)
        except EndpointDown as error:
            raise EndpointDown(f"{endpoint.url}: {error}") from None

    def card(self, endpoint: Endpoint, where: str, timeout: float) -> bytes:
        """Return the card of the model at the path `where`, or raise an InferenceError."""
        return self._post(endpoint, where, CARD_TYPE, b"", timeout)

    def _post(
        self, endpoint: Endpoint, where: str, content_type: str, body: bytes | bytearray, seconds: float
    ) -> bytes:
        deadline = time.monotonic() + seconds
        try:
            with self._line(endpoint).send(
                where, content_type, body, (min(CONNECT_SECONDS, seconds), seconds)
            ) as response:
                answer = _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, LATE) and not isinstance(error, requests.ConnectTimeout):
                raise TimedOut(f"{endpoint.url} gives no answer in {seconds:g} s") from None
            raise EndpointDown(f"{endpoint.url} gives no answer: {_plain(error)}") from None
        if response.status_code != HTTPStatus.OK:
            raise judged(endpoint, response.status_code, answer)
        return answer

    def _line(self, endpoint: Endpoint) -> _Line:
        """Return this thread's own line to an endpoint, since sessions aren't thread-safe."""
        lines: OrderedDict[Endpoint, _Line] | None = getattr(self._local, "lines", None)
        if lines is None:
            lines = self._local.lines = OrderedDict()
        line = lines.get(endpoint)
        if line is None:
            line = lines[endpoint] = _Line(endpoint, self.token)
            if len(lines) > LINES_PER_THREAD:
                lines.popitem(last=False)[1].close()
        lines.move_to_end(endpoint)
        return line


def parsed(endpoint: Endpoint, answer: bytes, model: Model, count: int) -> list[Answer | Refusal]:
    """Return what an answer to a packed batch says, or raise EndpointDown."""
    try:
        return parse(answer, model, count)
    except EndpointDown as error:
        raise EndpointDown(f"{endpoint.url}: {error}") from None


def judged(endpoint: Endpoint, status: int, answer: bytes) -> InferenceError:
    """Return the error that an answer other than 200 means."""
    found = fault(answer)
    said = f"{endpoint.url} answers {status}: {found.said}"
    if status in FULL and not found.is_workers:
        return Overloaded(said)
    if status in WRONG_ENDPOINT or status < HTTPStatus.BAD_REQUEST:
        return EndpointDown(said)
    # A killed worker is answered as 507 or 500; an image may well be the cause.
    if status == HTTPStatus.INSUFFICIENT_STORAGE and found.said != WORKER_DIED:
        return Exhausted(said)
    return BatchRefused(said)


def _plain(error: Exception) -> str:
    """Return the system's message, without the names of the libraries' wrappers."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no connection in time"
    found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
    return found[1] if found else str(error)


def _read(response: requests.Response, deadline: float) -> bytes:
    """Read an answer, with a bound on size and time."""
    parts = bytearray()
    while part := response.raw.read1(CHUNK, decode_content=True):
        parts += part
        if len(parts) > ANSWER_MAX_BYTES:
            raise requests.ConnectionError(f"the answer has more than {ANSWER_MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer takes too long")
    return bytes(parts)
