"""HEAD: the head of what GET would answer."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from gateway.doors.edge import Edge
from sluice.settings import Settings


def test_head_is_answered_as_get_without_a_body(settings: Settings) -> None:
    asked: list[str] = []
    sent: list[Message] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        asked.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"mu", "more_body": True})
        await send({"type": "http.response.body", "body": b"ch"})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "HEAD", "path": "/", "scheme": "http", "headers": [(b"host", b"x")]}
    asyncio.run(Edge(application, settings)(scope, receive, send))
    head, body = sent
    assert asked == ["GET"]
    assert (b"content-length", b"4") in head["headers"]
    assert (body.get("body"), body.get("more_body", False)) == (b"", False)
