"""Signing in through a company's OpenID Connect provider: authorization code, PKCE, state and nonce."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import httpx2
import jwt
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.doors.cookies import OIDC, delete_cookie, read_cookie, set_cookie
from gateway.doors.keys import GatewayKeys
from gateway.doors.person import Person, person_of
from gateway.ledgers import LedgerPool
from sluice.domain.accounts import EMAIL_MAX
from sluice.errors import ConfigurationError, RequestError
from sluice.ledger import users
from sluice.settings import Settings
from sluice.telemetry import get_logger

log = get_logger()

CALLBACK: Final = "/login/oidc/callback"
SECONDS: Final = 600
"""That a person may take at the provider."""
TIMEOUT: Final = 10.0
LEEWAY: Final = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Of signatures with the provider's own key: none, and none that our secret could make."""
SUBJECT_MAX: Final = 512
NAME_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class CompanyPerson:
    """Whom the provider says that somebody is."""

    subject: str
    email: str
    is_verified: bool
    name: str


class CompanySignIn:
    """Sends people to the provider, and believes what comes back only where everything agrees."""

    def __init__(self, settings: Settings, keys: GatewayKeys, ledger: LedgerPool) -> None:
        self._keys = keys
        self._ledger = ledger
        self._issuer = settings.gateway_oidc_issuer or ""
        self._client_id = settings.gateway_oidc_client or ""
        secret = settings.gateway_oidc_secret
        self._secret = secret.get_secret_value() if secret else None
        if self._issuer and not (settings.gateway_url and self._client_id):
            raise ConfigurationError(
                "SLUICE_GATEWAY_OIDC_ISSUER is set: set SLUICE_GATEWAY_OIDC_CLIENT and SLUICE_GATEWAY_URL too, which "
                f"the provider sends people back to (register it there with {CALLBACK} behind it)"
            )
        self._back = (settings.gateway_url or "").rstrip("/") + CALLBACK

    @property
    def is_on(self) -> bool:
        """Return whether there is a provider."""
        return bool(self._issuer)

    async def begin(self, request: Request, asked: str) -> Response:
        """Send somebody to the provider; what must come back is kept in a signed cookie."""
        self._check_is_on()
        kept = {each: secrets.token_urlsafe(48) for each in ("state", "nonce", "verifier")}
        try:
            async with self._client() as client:
                found = await self._discover(client)
                url, _ = client.create_authorization_url(
                    found["authorization_endpoint"],
                    state=kept["state"],
                    nonce=kept["nonce"],
                    code_verifier=kept["verifier"],
                )
        except (httpx2.HTTPError, AuthlibBaseError, KeyError, ValueError) as error:
            raise self._away(error) from error
        answer = RedirectResponse(url, HTTPStatus.SEE_OTHER)
        set_cookie(request, answer, OIDC, self._keys.sign("oidc", {**kept, "next": asked}, SECONDS), SECONDS)
        return answer

    async def finish(self, request: Request) -> tuple[Person, str]:
        """Return who came back from the provider, and where they wanted to go."""
        self._check_is_on()
        kept = self._keys.read("oidc", read_cookie(request, OIDC))
        state = request.query_params.get("state", "")
        if kept is None or not hmac.compare_digest(str(kept["state"]).encode(), state.encode()):
            raise _refused("this sign-in took too long, or was begun in another browser: begin again")
        if request.query_params.get("iss", self._issuer) != self._issuer:
            raise _refused("another provider answered: begin again")
        code = request.query_params.get("code")
        if not code:
            raise _refused("the provider let nobody in: begin again, or ask whoever runs it")
        person = await self._ask(code, kept)
        subject = f"{self._issuer} {person.subject}"
        if len(subject) > SUBJECT_MAX or not 0 < len(users.normalized(person.email)) <= EMAIL_MAX:
            raise _refused(
                "the provider names no e-mail address, or it or the subject is too long: ask whoever runs it"
            )
        account = await self._ledger.run(users.enter, subject, person.name, person.email, person.is_verified)
        if account is None:
            log.warning("audit", did="company sign-in refused: the address is taken", verified=person.is_verified)
            raise _refused(
                "somebody has an account with your e-mail address here, and it isn't proven to be yours: ask an admin"
            )
        if not account.active:
            raise _refused("this account is deactivated: ask an admin")
        log.info("audit", did="signed in through the company", user=account.id)
        return person_of(account), str(kept["next"])

    def end(self, request: Request, answer: Response) -> None:
        """Forget the sign-in: it can't be finished twice."""
        delete_cookie(request, answer, OIDC)

    async def _ask(self, code: str, kept: dict[str, Any]) -> CompanyPerson:
        """Exchange a code for what the provider says of the person."""
        try:
            async with self._client() as client:
                found = await self._discover(client)
                token = await client.fetch_token(
                    found["token_endpoint"], code=code, code_verifier=kept["verifier"], grant_type="authorization_code"
                )
                keys = (await client.request("GET", found["jwks_uri"], withhold_token=True)).raise_for_status().json()
                claims = self._read(token["id_token"], keys, kept["nonce"])
                if not claims.get("email") and "userinfo_endpoint" in found:
                    more = (await client.get(found["userinfo_endpoint"])).raise_for_status().json()
                    claims = {**more, **claims} if more.get("sub") == claims["sub"] else claims
        except jwt.PyJWTError as error:
            log.warning("audit", did="company sign-in refused: its token is wrong", why=str(error))
            raise _refused("the provider's answer isn't for us, or isn't its own: begin again") from error
        except (httpx2.HTTPError, AuthlibBaseError, KeyError, ValueError) as error:
            raise self._away(error) from error
        email = str(claims.get("email") or "")
        name = str(claims.get("name") or email.partition("@")[0])
        shown = "".join(each for each in name if each.isprintable()).strip()[:NAME_MAX] or "?"
        return CompanyPerson(str(claims["sub"]), email, claims.get("email_verified") is True, shown)

    def _read(self, token: str, keys: dict[str, Any], nonce: str) -> dict[str, Any]:
        """Return what an ID token says, once it proves to be this provider's, for us, for this very sign-in."""
        head = jwt.get_unverified_header(token)
        known = jwt.PyJWKSet.from_dict(keys).keys
        mine = [key for key in known if key.key_id == head.get("kid") or "kid" not in head]
        if not mine:
            raise jwt.InvalidTokenError("no key of the provider has this token's kid")
        claims: dict[str, Any] = jwt.decode(
            token,
            mine[0].key,
            algorithms=list(ALGORITHMS),
            audience=self._client_id,
            issuer=self._issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise jwt.InvalidTokenError("the nonce is of another sign-in")
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
            raise jwt.InvalidTokenError("the token was made for another party")
        return claims

    async def _discover(self, client: AsyncOAuth2Client) -> dict[str, Any]:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        found: dict[str, Any] = (await client.request("GET", url, withhold_token=True)).raise_for_status().json()
        if found["issuer"] != self._issuer:
            raise ValueError(f"it calls itself {found['issuer']!r}, SLUICE_GATEWAY_OIDC_ISSUER is {self._issuer!r}")
        return found

    def _client(self) -> AsyncOAuth2Client:
        return AsyncOAuth2Client(
            self._client_id,
            self._secret,
            scope="openid email profile",
            redirect_uri=self._back,
            code_challenge_method="S256",
            timeout=TIMEOUT,
        )

    def _check_is_on(self) -> None:
        if not self.is_on:
            raise RequestError(
                HTTPStatus.NOT_FOUND, "there is no company to sign in through: SLUICE_GATEWAY_OIDC_ISSUER"
            )

    def _away(self, error: Exception) -> RequestError:
        log.warning("the company's sign-in can't be used", issuer=self._issuer, why=f"{type(error).__name__}: {error}")
        return RequestError(
            HTTPStatus.SERVICE_UNAVAILABLE, "the company's sign-in gives no answer that can be used: try again later"
        )


def _refused(why: str) -> RequestError:
    return RequestError(HTTPStatus.FORBIDDEN, why)
