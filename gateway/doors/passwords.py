"""Passwords' argon2id hashes, made in few threads because each takes memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

from pwdlib import PasswordHash

from sluice.domain.accounts import PASSWORD_MAX, check_password, password_hasher
from sluice.errors import Busy, ConfigurationError
from sluice.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 2
"""Hashes at once; each takes 64 MiB."""
WAITING_MAX: Final = 32


class Passwords:
    """Hashes and verifies. Verifying against nothing takes as much work as against a hash."""

    def __init__(self, hasher: PasswordHash | None = None) -> None:
        self._hasher = hasher or password_hasher()
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._waiting = 0
        self._nobodys = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """Return the hash of a password."""
        return await self._run(self._hasher.hash, password)

    async def verify(self, password: str, known: str | None) -> bool:
        """Return whether this is the password of a hash; where there is none, do the same work and return False."""
        matches = await self._run(self._hasher.verify, password[: PASSWORD_MAX + 1], known or self._nobodys)
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


def check_first_password(settings: Settings) -> None:
    """Refuse a password for the first admin that nobody else could take."""
    if settings.gateway_admin_password is None:
        return
    try:
        check_password(settings.gateway_admin_password.get_secret_value(), settings.gateway_admin)
    except ConfigurationError as error:
        raise ConfigurationError(f"SLUICE_GATEWAY_ADMIN_PASSWORD: {error}") from error
