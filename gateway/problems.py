"""Errors as answers: RFC 9457 problems for programs, a page for people."""

from __future__ import annotations

from http import HTTPMethod, HTTPStatus
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from gateway.pages.render import page
from gateway.remedies import as_by_http
from sluice.errors import (
    Busy,
    ConfigurationError,
    LedgerError,
    LedgerUnavailable,
    ObjectError,
    RequestError,
    SluiceError,
    SourceError,
    TablesMissing,
)
from sluice.ledger.rows import shortened
from sluice.telemetry import get_logger

log = get_logger()

PROBLEM: str = "application/problem+json"
RETRY_SECONDS: int = 5
FAULT_MAX: int = 300
FAULTS: int = 10


def problem(status: int, detail: str, *, instance: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an RFC 9457 problem; its type is the status's own, so `title` is the status's phrase."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    if instance:
        body["instance"] = instance
    return JSONResponse(body, status, headers, PROBLEM)


def status_of(error: SluiceError) -> int:
    """Return the HTTP status that says what kind of error this is."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, ConfigurationError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, ObjectError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, LedgerUnavailable | TablesMissing | SourceError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(error, LedgerError):
        return HTTPStatus.CONFLICT
    return HTTPStatus.INTERNAL_SERVER_ERROR


def headers_of(error: SluiceError, status: int) -> dict[str, str]:
    """Return the headers that belong to an error: when to come back, how to sign in."""
    if isinstance(error, Busy):
        return {"Retry-After": str(error.seconds)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_SECONDS)}
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}


async def answer_error(request: Request, status: int, detail: str, headers: dict[str, str]) -> Response:
    """Answer a program with a problem, a person with a page."""
    is_page = not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
    if not is_page:
        return problem(status, detail, instance=request.url.path, headers=headers)
    if status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?{urlencode({'next': asked})}", HTTPStatus.SEE_OTHER)
    title, seconds = HTTPStatus(status).phrase, headers.get("Retry-After")
    answer = await page(request, "error.html", status, title=title, detail=detail, seconds=seconds)
    answer.headers.update(headers)
    return answer


async def answer_sluice_error(request: Request, error: Exception) -> Response:
    """Answer what was raised on purpose."""
    if not isinstance(error, SluiceError):
        raise error
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Busy):
        log.warning("a request can't be answered", path=request.url.path, why=str(error))
    return await answer_error(request, status, as_by_http(str(error)), headers_of(error, status))


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return await answer_error(request, error.status_code, str(error.detail), headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that the path takes: several routes share one, and each knows only its own."""
    asked = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    routes = request.app.routes
    found = [
        str(method)
        for method in HTTPMethod
        if any(r.matches({**asked, "method": method})[0] == Match.FULL for r in routes)
    ]
    return [*found, "HEAD"] if "GET" in found and "HEAD" not in found else found


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # Names of fields are the sender's: they may be long, or have halves of characters.
    wrong = "; ".join(
        shortened(f"{'.'.join(map(str, each['loc']))}: {each['msg']}", FAULT_MAX)
        for each in list(error.errors())[:FAULTS]
    )
    return await answer_error(request, HTTPStatus.UNPROCESSABLE_ENTITY, wrong, {})


async def _unexpected(request: Request, error: Exception) -> Response:
    # Raised again behind this answer, so that the log has where it came from.
    log.error("a fault of the gateway's own", path=request.url.path, kind=type(error).__name__)
    why = "this is a fault of Sluice's own: try again; whoever runs it finds more in its log"
    return await answer_error(request, HTTPStatus.INTERNAL_SERVER_ERROR, why, {})


def install(app: FastAPI) -> None:
    """Have every error answered as a problem."""
    app.add_exception_handler(Exception, _unexpected)
    app.add_exception_handler(SluiceError, answer_sluice_error)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
