"""The one secret that all replicas share, and what is made of it: signed tokens, and marks that only we can make."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any, Final, Literal

import jwt

from sluice.errors import ConfigurationError
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

KEY_MIN: Final = 32
ALGORITHM: Final = "HS256"
ISSUER: Final = "sluice"

Purpose = Literal["session", "access", "oidc"]


class GatewayKeys:
    """Signs with a key of its own for each purpose, so that what is meant for one door opens no other."""

    def __init__(self, settings: Settings) -> None:
        if settings.gateway_key is None:
            self._key = secrets.token_bytes(KEY_MIN)
            log.warning(
                "sessions end with this process: there is no key that outlives it",
                remedy="set SLUICE_GATEWAY_KEY to 32 random characters or more, the same for all replicas",
            )
            return
        key = settings.gateway_key.get_secret_value()
        if len(key) < KEY_MIN:
            raise ConfigurationError(
                f"SLUICE_GATEWAY_KEY has {len(key)} characters: set {KEY_MIN} random ones or more, as "
                "`openssl rand -hex 32` prints them"
            )
        self._key = key.encode()

    def sign(self, purpose: Purpose, claims: dict[str, Any], seconds: int) -> str:
        """Return a signed token that says these claims for so many seconds."""
        now = int(time.time())
        everything = {**claims, "iss": ISSUER, "aud": purpose, "iat": now, "exp": now + seconds}
        return jwt.encode(everything, self._for(purpose), ALGORITHM)

    def read(self, purpose: Purpose, token: str) -> dict[str, Any] | None:
        """Return what a token says, if it was signed for this purpose and still lasts."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._for(purpose),
                algorithms=[ALGORITHM],
                audience=purpose,
                issuer=ISSUER,
                # Not iat: the clock of the replica that signed may be before this one's, or was set back since.
                options={"require": ["exp", "iat", "aud", "iss"], "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        return claims

    def mark(self, purpose: str, value: str) -> str:
        """Return what only a holder of the key can make of a value."""
        return hmac.new(self._for(purpose), value.encode(), hashlib.sha256).hexdigest()

    def _for(self, purpose: str) -> bytes:
        return hmac.new(self._key, f"sluice gateway {purpose}".encode(), hashlib.sha256).digest()


def digest(secret: str) -> bytes:
    """Return what the ledger keeps of a secret that has enough randomness of its own."""
    return hashlib.sha256(secret.encode()).digest()
