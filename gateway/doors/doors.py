"""Tells who sends a request, and lets people in and out."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from http import HTTPStatus
from typing import Any, Final, Literal

from starlette.requests import HTTPConnection
from starlette.responses import Response

from gateway.doors.cookies import SEED, SESSION, delete_cookie, read_cookie, set_cookie
from gateway.doors.keys import GatewayKeys, digest
from gateway.doors.oidc import CompanySignIn
from gateway.doors.origins import SAFE, origin_of
from gateway.doors.passwords import Passwords, check_first_password
from gateway.doors.person import Person, Role, person_of
from gateway.doors.remembered import Remembered
from gateway.ledgers import LedgerPool
from sluice.errors import Busy, LedgerError, RequestError
from sluice.ledger import sessions, tokens, users
from sluice.ledger.pictures import ANONYMOUS
from sluice.ledger.sessions import Attempts
from sluice.ledger.users import Account
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

SESSION_SECONDS: Final = 7 * 24 * 3600
ACCESS_SECONDS: Final = 30 * 60
FRESH_SECONDS: Final = 3.0
"""So long a session is believed without another look: what ends it is obeyed everywhere by then."""
TOKEN_PREFIX: Final = "sluice_"  # noqa: S105 - how tokens begin, so that scanners of leaked secrets know them
ACCOUNT_FREE: Final = 5
ACCOUNT_LONGEST: Final = 60
"""Short, since anybody can have an account wait by guessing at it."""
ADDRESS_FREE: Final = 20
ADDRESS_LONGEST: Final = 900
TRIM_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 1.0

Way = Literal["session", "bearer", ""]
"""What somebody showed: a session's cookie, a token, or nothing that is known."""


class Doors:
    """Everything that decides who somebody is."""

    def __init__(self, settings: Settings, ledger: LedgerPool, passwords: Passwords | None = None) -> None:
        check_first_password(settings)
        self._settings = settings
        self._ledger = ledger
        self._anybody = Person(ANONYMOUS, "", "", Role[settings.gateway_anonymous.upper()])
        self.keys = GatewayKeys(settings)
        self.passwords = passwords or Passwords()
        self.company = CompanySignIn(settings, self.keys, ledger)
        self._sessions = Remembered[bytes, Account | None](lambda key: ledger.run(sessions.find, key), FRESH_SECONDS)
        self._tokens = Remembered[bytes, Account | None](lambda key: ledger.run(tokens.find, key), FRESH_SECONDS)

    async def run(self) -> None:
        """Make the first admin, then delete what has ended, until cancelled."""
        wait = RETRY_SECONDS
        made = False
        while True:
            try:
                if not made:
                    await self._make_first_admin()
                    made, wait = True, TRIM_SECONDS
                while await self._ledger.run(sessions.trim):
                    pass
            except LedgerError as error:
                log.warning("people can't be looked after yet", why=str(error))
            await asyncio.sleep(wait)

    def close(self) -> None:
        """Let go of the threads."""
        self.passwords.close()

    async def identify(self, request: HTTPConnection) -> Person:
        """Return whoever sends the request; who shows nothing is anybody. A token that isn't known is refused."""
        state = _state(request)
        if "person" not in state:
            # Whoever renders an error asks again.
            state["person"], state["way"] = self._anybody, ""
            state["person"], state["way"] = await self._identify(request)
        person: Person = state["person"]
        return person

    def peek(self, request: HTTPConnection) -> Person | None:
        """Return whoever sends the request, if that is known without asking the ledger."""
        key, _ = self._shown(request)
        account = None
        if key is not None:
            account = self._sessions.peek(key) or self._tokens.peek(key)
        return person_of(account) if account is not None else None

    def way(self, request: HTTPConnection) -> Way:
        """Return what the person showed; after `identify`."""
        way: Way = _state(request).get("way", "")
        return way

    async def sign_in(self, email: str, password: str, address: str) -> Person:
        """Return whose e-mail address and password these are; the answer to both being wrong is the same."""
        account_key, address_key = digest(f"account {users.normalized(email)}"), digest(f"address {address}")
        limits = (
            Attempts(account_key, ACCOUNT_FREE, ACCOUNT_LONGEST),
            Attempts(address_key, ADDRESS_FREE, ADDRESS_LONGEST),
        )
        wait = await self._ledger.run(sessions.attempt, limits)
        if wait:
            log.warning("audit", did="sign-in throttled", address=address, seconds=wait)
            raise Busy(f"too many sign-ins failed: try again in {wait} s", wait, HTTPStatus.TOO_MANY_REQUESTS)
        account, known = await self._ledger.run(users.password_of, email) or (None, None)
        matches = await self.passwords.verify(password, known)
        if account is None or not matches or not account.active:
            log.warning("audit", did="sign-in failed", user=account.id if account else None, address=address)
            raise RequestError(HTTPStatus.UNAUTHORIZED, "the e-mail address or the password is wrong")
        await self._ledger.run(sessions.forgive, account_key, address_key)
        log.info("audit", did="signed in", user=account.id, address=address)
        return person_of(account)

    async def begin_session(self, request: HTTPConnection, response: Response, person: Person) -> None:
        """Sign a person in with a new session; the one that the browser had ends."""
        await self._end(request)
        token = await self._begin("session", person, SESSION_SECONDS)
        set_cookie(request, response, SESSION, token, SESSION_SECONDS)

    async def end_session(self, request: HTTPConnection, response: Response) -> None:
        """Sign out."""
        await self._end(request)
        delete_cookie(request, response, SESSION)

    async def access_token(self, person: Person) -> str:
        """Return a bearer token for half an hour; it ends earlier as sessions do."""
        return await self._begin("access", person, ACCESS_SECONDS)

    def session_digest(self, request: HTTPConnection) -> bytes | None:
        """Return the session that the cookie names."""
        cookie = read_cookie(request, SESSION)
        claims = self.keys.read("session", cookie) if cookie else None
        return digest(str(claims["sid"])) if claims and "sid" in claims else None

    def forget(self) -> None:
        """Ask the ledger anew about everybody: somebody was changed here, and need not wait for it."""
        self._sessions.forget_all()
        self._tokens.forget_all()

    def csrf(self, request: HTTPConnection) -> str:
        """Return what a form has to send back, so that no other site can send it."""
        state = _state(request)
        if self.way(request) == "session":
            return self.keys.mark("form", f"session {read_cookie(request, SESSION)}")
        seed = read_cookie(request, SEED) or state.get("seed")
        if not seed:
            seed = state["seed"] = secrets.token_urlsafe(24)
        return self.keys.mark("form", f"seed {seed}")

    def check_origin(self, request: HTTPConnection) -> None:
        """Refuse what another site sends in somebody's name; after `identify`."""
        way = self.way(request)
        if request.scope["method"] in SAFE or way == "bearer":
            return
        origin = origin_of(request, self._settings.gateway_url)
        if origin == "foreign" or (origin == "unsaid" and way == "session"):
            log.warning("audit", did="refused another site's request", way=way, origin=origin)
            raise RequestError(
                HTTPStatus.FORBIDDEN,
                "this came from another site, or nothing says from which: use Sluice's own pages, or send a token",
            )

    def check_token(self, request: HTTPConnection, token: str) -> None:
        """Refuse a form that doesn't carry what `csrf` gave it; after `identify`. Who sends a bearer needs none."""
        if self.way(request) == "bearer":
            return
        if not hmac.compare_digest(token.encode(), self.csrf(request).encode()):
            raise RequestError(
                HTTPStatus.FORBIDDEN, "this form is too old, or not ours: open the page anew and send it again"
            )

    def _shown(self, request: HTTPConnection) -> tuple[bytes | None, Way]:
        """Return the digest that the ledger may know, of what was shown."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if token.startswith(TOKEN_PREFIX):
                return digest(token), "bearer"
            claims = self.keys.read("access", token)
            return digest(str(claims["sid"])) if claims and "sid" in claims else None, "bearer"
        key = self.session_digest(request)
        return key, "session" if key else ""

    async def _identify(self, request: HTTPConnection) -> tuple[Person, Way]:
        key, way = self._shown(request)
        account = None
        if key is not None:
            is_personal = request.headers.get("authorization", "").partition(" ")[2].startswith(TOKEN_PREFIX)
            account = await (self._tokens if is_personal else self._sessions).get(key)
        if account is not None:
            return person_of(account), way
        if way == "bearer":
            raise RequestError(
                HTTPStatus.UNAUTHORIZED,
                "this token isn't known, or has ended: make a new one on the page of your account",
            )
        return self._anybody, ""

    async def _begin(self, purpose: Literal["session", "access"], person: Person, seconds: int) -> str:
        sid = secrets.token_urlsafe(32)
        await self._ledger.run(sessions.begin, digest(sid), person.id, seconds)
        return self.keys.sign(purpose, {"sub": str(person.id), "sid": sid}, seconds)

    async def _end(self, request: HTTPConnection) -> None:
        key = self.session_digest(request)
        if key is not None:
            await self._ledger.run(sessions.end, key)
            self._sessions.forget(key)

    async def _make_first_admin(self) -> None:
        email = self._settings.gateway_admin
        secret = self._settings.gateway_admin_password
        if await self._ledger.run(users.has_admin):
            return
        if secret is None:
            log.warning("there is no admin", remedy="set SLUICE_GATEWAY_ADMIN_PASSWORD; it makes one at the next start")
            return
        made = await self._ledger.run(
            users.add_first_admin, email, await self.passwords.hash(secret.get_secret_value())
        )
        if made == "made":
            log.info("audit", did="first admin made", email=email)
        elif made == "taken":
            log.warning(
                "there is no admin, and somebody else has the address of the first one",
                remedy="set SLUICE_GATEWAY_ADMIN to another address",
            )


def _state(request: HTTPConnection) -> dict[str, Any]:
    state: dict[str, Any] = request.scope.setdefault("state", {})
    return state
