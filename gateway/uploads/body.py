"""The file in a request's body, as it comes: the body itself, or field `file` of a form. Nothing of it is kept here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sluice.errors import RequestError

FORM: Final = "multipart/form-data"
FILE: Final = "file"
MOST_FIELDS: Final = 20
FIELD_BYTES: Final = 4096
DRAIN_BYTES: Final = 16 * 1024 * 1024
DRAIN_SECONDS: Final = 2.0
"""So much is read and dropped after a refusal: most clients read an answer only when they have sent all."""


class ArchiveBody:
    """One request's file. `name` and `fields` are known by the first bytes, as far as the form has them before."""

    def __init__(self, request: Request, name: str = "") -> None:
        self._request = request
        self._stream = request.stream()
        self.name = name
        self.fields: dict[str, str] = {}

    @property
    def declared(self) -> int | None:
        """Return how long the client says that the body is."""
        said = self._request.headers.get("content-length", "")
        return int(said) if said.isascii() and said.isdecimal() and len(said) < len("1" * 19) else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the file's bytes as they come."""
        kind, options = parse_options_header(self._request.headers.get("content-type"))
        if kind.decode("latin-1") != FORM:
            async for chunk in self._incoming():
                yield chunk
            return
        if not options.get(b"boundary"):
            raise RequestError(
                HTTPStatus.BAD_REQUEST, "the form's Content-Type has no boundary: send multipart/form-data"
            )
        form = _FormStream(options[b"boundary"], self)
        async for chunk in self._incoming():
            for data in form.feed(chunk):
                yield data
        form.end()

    async def drain(self) -> None:
        """Read what still comes, within bounds, and drop it: so that the client reads why it was refused."""
        left = DRAIN_BYTES
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for chunk in self._stream:
                    left -= len(chunk)
                    if left < 0:
                        return
        except (TimeoutError, ClientDisconnect, HTTPException):
            return  # the answer goes out all the same

    async def _incoming(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await anext(self._stream)
            except StopAsyncIteration:
                return
            except ClientDisconnect as error:
                raise RequestError(HTTPStatus.BAD_REQUEST, "the client went before all was sent") from error
            if chunk:
                yield chunk


class _FormStream:
    """Takes a form apart as it comes: small fields are kept, the file is handed on."""

    def __init__(self, boundary: bytes, body: ArchiveBody) -> None:
        self._body = body
        self._found: list[bytes] = []
        self._header = self._value = b""
        self._disposition = b""
        self._field: str | None = None
        self._text = b""
        self._has_file = False
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _unreadable(error) from error

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what of the file is in a chunk of the form."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from error
        found, self._found = self._found, []
        return found

    def end(self) -> None:
        """Say what the form lacks."""
        if not self._ended:
            raise RequestError(HTTPStatus.BAD_REQUEST, "the form ends in its middle, nothing was kept: send it again")
        if not self._has_file:
            raise RequestError(HTTPStatus.BAD_REQUEST, f"no archive was sent: send one as form field {FILE!r}")

    def _begin_part(self) -> None:
        self._disposition = self._text = b""
        self._field = None

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" not in options:
            if len(self._body.fields) >= MOST_FIELDS:
                raise RequestError(
                    HTTPStatus.BAD_REQUEST, f"the form has more than {MOST_FIELDS} fields: leave some out"
                )
            self._field = name
            return
        filename = options[b"filename"].decode(errors="replace")
        if name != FILE or not filename:
            return  # a browser sends an empty part where no file was chosen
        if self._has_file:
            raise RequestError(HTTPStatus.BAD_REQUEST, "the form has several files: send one archive a request")
        self._has_file = True
        self._body.name = self._body.name or filename
        self._field = FILE

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == FILE and self._has_file:
            self._found.append(data[start:end])
        elif self._field is not None:
            self._text += data[start:end]
            if len(self._text) > FIELD_BYTES:
                raise RequestError(HTTPStatus.BAD_REQUEST, f"a field has more than {FIELD_BYTES} bytes: shorten it")

    def _end_part(self) -> None:
        if self._field is not None and self._field != FILE:
            self._body.fields[self._field] = self._text.decode(errors="replace")
        self._field = None

    def _end(self) -> None:
        self._ended = True


def _unreadable(error: FormParserError) -> RequestError:
    return RequestError(HTTPStatus.BAD_REQUEST, f"the form can't be read ({error}): send multipart/form-data")
