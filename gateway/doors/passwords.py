"""Passwords: which are taken, and their argon2id hashes, made in few threads because each takes memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Final, ParamSpec, TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from sluice.errors import Busy, RequestError

P = ParamSpec("P")
T = TypeVar("T")

LENGTH_MIN: Final = 10
LENGTH_MAX: Final = 200
THREADS: Final = 2
"""Hashes at once; each takes 64 MiB."""
WAITING_MAX: Final = 32


class Passwords:
    """Hashes and verifies. Verifying against nothing takes as much work as against a hash."""

    def __init__(self, hasher: PasswordHash | None = None) -> None:
        self._hasher = hasher or PasswordHash((Argon2Hasher(),))
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._waiting = 0
        self._nobodys = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        return await self._run(self._hasher.hash, password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Return whether this is the password of a hash; where there is none, do the same work and return False."""
        matches = await self._run(self._hasher.verify, password[: LENGTH_MAX + 1], known or self._nobodys)
        return matches and known is not None

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= WAITING_MAX:
            raise Busy("too many people sign in at once: try again in a while", 2)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        finally:
            self._waiting -= 1


def check_password(password: str, *known: str) -> None:
    """Refuse a password that is too short, too long, or what everybody would try first."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters, this one has {len(password)}",
        )
    if len(set(password)) == 1 or password.lower() in {each.lower() for each in known}:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "this password is too easy to guess: choose another one")
