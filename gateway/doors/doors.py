"""Tells who sends a request."""

from __future__ import annotations

from fastapi import Request

from gateway.doors.person import Person, Role
from sluice.ledger.pictures import ANONYMOUS
from sluice.settings import Settings


class Doors:
    """Everything that decides who somebody is."""

    def __init__(self, settings: Settings) -> None:
        role = Role[settings.gateway_anonymous.upper()]
        self._anybody = Person(ANONYMOUS, "", "", role)

    async def identify(self, request: Request) -> Person:
        """Return whoever sends the request; who shows nothing is anybody."""
        del request
        return self._anybody

    def csrf(self, request: Request) -> str:
        """Return what a form has to send back, so that no other site can send it."""
        del request
        return ""
