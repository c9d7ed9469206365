"""HEAD: answered as GET is, without a body; what would come of one is not waited for."""

from __future__ import annotations

from starlette.types import Message, Scope, Send


def as_get(scope: Scope) -> Scope:
    """Return what a request asks the application for: HEAD asks for what GET does."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def without_body(send: Send) -> Send:
    """Return a `send` that ends the answer at its head: a stream is told that its client went."""
    is_over = False

    async def send_head(message: Message) -> None:
        nonlocal is_over
        if message["type"] == "http.response.start":
            await send(message)
        elif not is_over:
            is_over = True
            await send({"type": "http.response.body", "body": b""})

    return send_head
