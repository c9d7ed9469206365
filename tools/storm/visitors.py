"""People who use two gateways while these are killed, by pages, API and archives, and note what they see."""

from __future__ import annotations

import io
import itertools
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from tools.stack import Gateway
from tools.storm.pictures import picture

TIMEOUT_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.05
RETRY_SECONDS: Final = 1.0
MEMBERS: Final = 4
SHOWN: Final = 300
CSRF: Final = re.compile(r'name="csrf" value="(\w+)"')
DRAWN: Final = re.compile(r"/pictures/(\d+)/thumbnail")


@dataclass(frozen=True, slots=True)
class GatewayKill:
    """A gateway that was killed between two moments."""

    gateway: Gateway
    begun: float
    ended: float


@dataclass
class KillJournal:
    """What was killed, and what the people saw; written by several threads."""

    kills: list[GatewayKill] = field(default_factory=list)
    away: set[Gateway] = field(default_factory=set)
    """Gateways that were killed and aren't ready again: a Service sends nothing to them."""
    pictures: dict[int, int] = field(default_factory=dict)
    """Of an object that was answered, the number of its picture."""
    uploads: dict[str, int] = field(default_factory=dict)
    """Of an upload that was answered, its job."""
    answered: int = 0
    refused: int = 0
    """Connections that a dead gateway's address refused; the other one was asked then."""
    broken: int = 0
    """Requests in flight that died with their gateway."""
    resent: int = 0
    """Archives that were sent again by the same key, for that reason."""
    breaches: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def died_within(self, gateway: Gateway, begun: float, ended: float) -> bool:
        """Return whether a gateway was killed while a request to it was under way."""
        return any(each.gateway is gateway and begun <= each.ended and ended >= each.begun for each in list(self.kills))


class RoundRobin:
    """Sends requests to the gateways in turn, each by a connection of its own; what is refused goes to the next."""

    def __init__(self, gateways: list[Gateway], journal: KillJournal) -> None:
        self._gateways = itertools.cycle(gateways)
        self._count = len(gateways)
        self._journal = journal
        self._session = requests.Session()
        self.cookies = self._session.cookies
        self._session.headers["Connection"] = "close"

    def send(self, method: str, path: str, **more: Any) -> requests.Response | None:  # noqa: ANN401 - what requests takes
        """Return the answer; None where the gateway died under the request, or nobody answers yet."""
        for _ in range(self._count):
            gateway = next(self._gateways)
            if gateway in self._journal.away:
                continue
            headers = {"Origin": gateway.url, **more.get("headers", {})}
            begun = time.monotonic()
            try:
                answer = self._session.request(
                    method,
                    gateway.url + path,
                    timeout=TIMEOUT_SECONDS,
                    allow_redirects=False,
                    **{**more, "headers": headers},
                )
            except requests.RequestException as error:
                if _is_refused(error):
                    self._journal.refused += 1
                    continue
                self._note_broken(gateway, begun, f"{method} {path}: {error}")
                return None
            self._journal.answered += 1
            return answer
        time.sleep(PAUSE_SECONDS)
        return None

    def _note_broken(self, gateway: Gateway, begun: float, what: str) -> None:
        ended = time.monotonic()
        # The kill is noted when it is over: a moment later than its victims see it.
        with self._journal.lock:
            if self._journal.died_within(gateway, begun, ended):
                self._journal.broken += 1
            else:
                self._journal.breaches.append(f"{gateway.name} lives, and failed: {what}"[:SHOWN])


def _is_refused(error: requests.RequestException) -> bool:
    inner = error.args[0] if error.args else None
    return isinstance(inner, MaxRetryError) and isinstance(inner.reason, NewConnectionError)


class PageVisitor:
    """Signs in once, drops pictures on the page, and is never asked to sign in again."""

    def __init__(self, robin: RoundRobin, journal: KillJournal, numbers: Iterator[int]) -> None:
        self._robin = robin
        self._journal = journal
        self._numbers = numbers
        self._csrf = ""

    def sign_in(self, email: str, password: str) -> None:
        """Sign in, before anything is killed."""
        form = self._robin.send("GET", "/login")
        token = CSRF.search(form.text) if form is not None else None
        fields = {"csrf": token[1] if token else "", "email": email, "password": password}
        answer = self._robin.send("POST", "/login", data=fields)
        if answer is None or answer.status_code != requests.codes.see_other:
            raise SystemExit(f"nobody can sign in: {answer}")

    def visit(self) -> None:
        """Open the page, drop a picture."""
        if not self._csrf:
            form = self._robin.send("GET", "/", headers={"Accept": "text/html"})
            if form is None or not self._is_good(form, requests.codes.ok):
                return
            self._csrf = (CSRF.search(form.text) or ["", ""])[1]
        number = next(self._numbers)
        answer = self._robin.send(
            "POST",
            "/",
            data={"csrf": self._csrf},
            files={"file": (f"{number}.jpg", picture(number))},
            headers={"Accept": "text/html"},
        )
        if answer is not None and self._is_good(answer, requests.codes.ok):
            found = DRAWN.search(answer.text)
            if found is None:
                self._journal.breaches.append(f"the page answered without the picture {number}")
            else:
                self._journal.pictures[int(found[1])] = number

    def _is_good(self, answer: requests.Response, status: int) -> bool:
        return _check(self._journal, answer, status)


def use_api(robin: RoundRobin, journal: KillJournal, numbers: Iterator[int], token: str) -> None:
    """Have one picture classified."""
    number = next(numbers)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "image/jpeg"}
    answer = robin.send("POST", "/api/v1/predictions", data=picture(number), headers=headers)
    if answer is not None and _check(journal, answer, requests.codes.ok):
        journal.pictures[answer.json()["predictions"][0]["id"]] = number


class ArchiveSender:
    """Uploads zips of a few pictures, what breaks off is sent again by the same key until it is answered."""

    def __init__(self, robin: RoundRobin, journal: KillJournal, numbers: Iterator[int], token: str) -> None:
        self._robin = robin
        self._journal = journal
        self._numbers = numbers
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/zip"}
        self._owed: tuple[str, bytes] | None = None
        """The name and the bytes of an archive whose sender doesn't know whether it came."""

    def send(self) -> None:
        """Send the archive that is owed, or a new one."""
        name, data = self._owed or self._pack()
        self._owed = (name, data)
        headers = {**self._headers, "Idempotency-Key": name}
        answer = self._robin.send("PUT", f"/api/v1/uploads/{name}", data=data, headers=headers)
        if answer is None:
            self._journal.resent += 1
            return
        if answer.status_code == requests.codes.conflict:
            # Its gateway is dead: another takes the key over once it is stale.
            time.sleep(RETRY_SECONDS)
            return
        self._owed = None
        if _check(self._journal, answer, requests.codes.created):
            made = answer.json()
            self._journal.uploads[made["id"]] = made["job"]

    def _pack(self) -> tuple[str, bytes]:
        buffer = io.BytesIO()
        numbers = list(itertools.islice(self._numbers, MEMBERS))
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in numbers:
                archive.writestr(f"{number}.jpg", picture(number))
        return f"killed-{numbers[0]}.zip", buffer.getvalue()


def keep_on(work: Callable[[], None], stop: threading.Event) -> None:
    """Do it again and again until told to stop."""
    while not stop.is_set():
        work()


def _check(journal: KillJournal, answer: requests.Response, status: int) -> bool:
    """Return whether an answer is what it should be; else note it. A page that leads to the login is such an else."""
    if answer.status_code == status:
        return True
    said = answer.headers.get("Location", answer.text)
    journal.breaches.append(f"{answer.request.method} {answer.request.url}: {answer.status_code} {said}"[:SHOWN])
    return False
