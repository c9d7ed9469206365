"""What stands before all routes but the static files: who is it, how many requests, from which site."""

from __future__ import annotations

import math
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.doors.doors import Doors
from gateway.doors.edge import STATIC
from gateway.doors.origins import address_of
from gateway.doors.rates import Rates
from gateway.problems import answer_sluice_error
from sluice.errors import Busy, SluiceError
from sluice.settings import Settings
from sluice.telemetry import metrics


class Gate:
    """Lets a request through, or answers why not before anything of it is read."""

    def __init__(self, app: ASGIApp, settings: Settings, doors: Doors) -> None:
        self._app = app
        self._doors = doors
        self._rates = Rates(settings.gateway_rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(STATIC):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            await self._check(request)
        except SluiceError as error:
            refusal = await answer_sluice_error(request, error)
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _check(self, request: Request) -> None:
        known = self._doors.peek(request)
        address = f"address {address_of(request)}"
        if known is None:
            # Before the ledger is asked: whoever makes tokens up would have it asked without end.
            self._take(address)
        person = await self._doors.identify(request)
        if person.is_signed_in:
            if known is None:
                self._rates.give_back(address)
            self._take(f"person {person.id}")
        self._doors.check_origin(request)

    def _take(self, key: str) -> None:
        wait = self._rates.take(key)
        if wait:
            metrics.GATEWAY_REFUSED.inc()
            seconds = math.ceil(wait)
            raise Busy(f"too many requests: go on in {seconds} s", seconds, HTTPStatus.TOO_MANY_REQUESTS)
