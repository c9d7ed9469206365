"""A model's card from a TorchServe, and waiting for it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sluice.cli.card import read_card
from sluice.cli.waiting import wait_until
from sluice.errors import ConfigurationError, EndpointDown, LedgerError, LedgerUnavailable, TablesMissing
from sluice.images import CARD_TYPE
from sluice.inference.card import fetch
from sluice.inference.client import Endpoint
from sluice.settings import read_settings
from tests.support.model_archives import CARD, TAMPERED


@contextmanager
def serving(status: int, said: object) -> Iterator[str]:
    """Answer requests for the card of m@1.0, and no others."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = (self.path, self.headers["Content-Type"], self.headers.get("Authorization"))
            right = asked == ("/predictions/m/1.0", CARD_TYPE, "Bearer let-me-in")
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status if right else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ask(url: str) -> dict[str, Any]:
    return read_card(url, read_settings(torchserve_token="let-me-in"))


def test_a_served_model_gives_its_card() -> None:
    with serving(200, CARD | {"more": 1}) as server:
        assert ask(f"{server}/predictions/m/1.0") == ask(f"{server}/predictions/m/1.0/") == CARD | {"more": 1}


def test_every_address_of_the_name_is_asked_until_one_answers() -> None:
    with serving(200, CARD) as good, serving(503, "") as full, socket.create_server(("127.0.0.1", 0)) as closed:
        absent = f"http://127.0.0.1:{closed.getsockname()[1]}"
        closed.close()
        found = [Endpoint(url, "name") for url in (absent, full, good)]
        url, settings = "http://name:8080/predictions/m/1.0", read_settings(torchserve_token="let-me-in")
        assert json.loads(fetch(url, settings, lambda _: found)) == CARD
        found.pop()
        with pytest.raises(EndpointDown) as raised:
            fetch(url, settings, lambda _: found)
        assert str(raised.value) == (
            f'no card of m@1.0: {absent} gives no answer: Connection refused; {full} answers 503: ""'
        )


@pytest.mark.parametrize(
    ("status", "said", "kind", "why"),
    [
        (200, CARD | {"version": "2.0"}, ConfigurationError, "is the address of m@2.0"),
        (200, CARD | {"labels": []}, ConfigurationError, "labels"),
        *((200, {**CARD, **changed}, ConfigurationError, "changed after it was built") for changed in TAMPERED),
        (200, {"tabby": 0.9}, ConfigurationError, "no usable name, version"),
        (200, b"<html>", ConfigurationError, "Sluice's handler"),
        (200, b"\xff", ConfigurationError, "Sluice's handler"),
        (400, {"reason": "empty"}, EndpointDown, "scripts/build-model"),
        (404, {"type": "ModelNotFoundException"}, EndpointDown, "ModelNotFound"),
        (500, "died", EndpointDown, "500"),
    ],
)
def test_what_is_no_card_is_said(status: int, said: object, kind: type[Exception], why: str) -> None:
    with serving(status, said) as server, pytest.raises(kind, match=why):
        ask(f"{server}/predictions/m/1.0")


def test_a_name_without_an_address_is_said() -> None:
    with pytest.raises(EndpointDown, match=r"nowhere\.invalid:8080 has no address"):
        ask("http://nowhere.invalid:8080/predictions/m/1.0")


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8080",
        "http://host:8080/predictions/m",
        "http://host:8080/predictions//1.0",
        "http://host:8080/predictions/m/1.0/more",
        "http://host:8080/predictions/m/1.0?x",
        "http://host:port/predictions/m/1.0",
        "http://[/predictions/m/1.0",
        "http:///predictions/m/1.0",
    ],
)
def test_a_url_of_no_model_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME/VERSION"):
        ask(url)


def test_waiting_says_each_reason_once_and_ends_when_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    away, bare = LedgerUnavailable("away"), TablesMissing("bare")
    answers: list[Exception | int] = [away, away, bare, away, 7]

    def attempt() -> int:
        answer = answers.pop(0)
        if isinstance(answer, int):
            return answer
        raise answer

    assert wait_until(time.monotonic() + 60, attempt, sleep=lambda _: None) == 7
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["away", "bare", "away"]
    assert lines[0].startswith("waiting, 1 min")


def test_waiting_ends_in_time_and_only_for_what_may_come(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: Exception) -> Callable[[], None]:
        def attempt() -> None:
            raise error

        return attempt

    with pytest.raises(LedgerUnavailable):
        wait_until(time.monotonic(), raising(LedgerUnavailable("away")))
    for error in (LedgerError("refused"), ConfigurationError("wrong")):
        with pytest.raises(type(error)):
            wait_until(time.monotonic() + 60, raising(error))
    assert capsys.readouterr().err == ""
