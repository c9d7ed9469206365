"""The application: routes, errors and headers put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.staticfiles import StaticFiles

import sluice
from gateway import problems
from gateway.api import differences, feedback, predictions, quarantine, results, tokens, uploads
from gateway.api import drift as drift_api
from gateway.api import jobs as jobs_api
from gateway.api import models as models_api
from gateway.api import trainings as trainings_api
from gateway.api import trials as trials_api
from gateway.api import users as users_api
from gateway.classic import routes as classic_routes
from gateway.doors.bodies import Bodies
from gateway.doors.callers import BEARER
from gateway.doors.forms import form_token
from gateway.doors.gate import Gate
from gateway.dropped import archive_bytes, form_bytes
from gateway.pages import account, batch, classify, docs, login
from gateway.pages import differences as differences_pages
from gateway.pages import drift as drift_pages
from gateway.pages import jobs as jobs_pages
from gateway.pages import models as models_pages
from gateway.pages import pictures as pictures_pages
from gateway.pages import reports as reports_pages
from gateway.pages import results as results_pages
from gateway.pages import trainings as trainings_pages
from gateway.pages import trials as trials_pages
from gateway.pages import users as users_pages
from gateway.parts import Parts
from sluice.settings import Settings

API: Final = (
    predictions.router,
    jobs_api.router,
    results.router,
    differences.router,
    quarantine.router,
    models_api.router,
    drift_api.router,
    trials_api.router,
    feedback.router,
    uploads.router,
    trainings_api.router,
    users_api.router,
    tokens.router,
)
PAGES: Final = (
    classify.router,
    login.router,
    account.router,
    users_pages.router,
    batch.router,
    results_pages.router,
    differences_pages.router,
    jobs_pages.router,
    models_pages.router,
    drift_pages.router,
    reports_pages.router,
    trainings_pages.router,
    trials_pages.router,
    pictures_pages.router,
    docs.router,
)
SIZES: Final[dict[str, Callable[[Settings], int]]] = {
    "/": form_bytes,
    "/api/v1/predictions": form_bytes,
    "/api/v1/uploads": archive_bytes,
    "/api/v1/uploads/*": archive_bytes,
    "/batch": archive_bytes,
    "/predict": form_bytes,
    "/predict/": form_bytes,
    "/model/predict": form_bytes,
    "/upload": archive_bytes,
}
"""Where bodies may be larger than a small form, and how large."""
DESCRIPTION: Final = """\
Send pictures and read what is in them; send archives, or name what lies in a bucket, and read the results of jobs.

A request says who sends it with `Authorization: Bearer TOKEN`; the page Account makes tokens. Errors are RFC 9457
problems, whose `detail` says what happened and what to do. Lists come in pages: `next` of one is where the following
one begins. A request with the header `Idempotency-Key` may be sent again: what it asks for is done once.
"""
STATIC: Final = Path(__file__).parent / "static"


def make_app(parts: Parts) -> FastAPI:
    """Return the application that answers with these parts."""
    # Without FastAPI's own pages of the API: they run scripts of another site, which the pages' policy forbids.
    app = FastAPI(title="Sluice", version=sluice.__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.parts = parts
    problems.install(app)
    api = APIRouter(prefix="/api/v1", dependencies=[Security(BEARER)])
    for router in API:
        api.include_router(router)
    app.include_router(api)
    if parts.settings.gateway_classic:
        # Before the pages: POST /login is both, and this one hands the pages' own form on.
        for router in classic_routes.ROUTERS:
            app.include_router(router)
    for router in PAGES:
        app.include_router(router, dependencies=[Depends(form_token)])
    app.mount("/static", StaticFiles(directory=STATIC))
    # What is added last comes first: who it is and where from, then the body.
    app.add_middleware(Bodies, settings=parts.settings, sizes=SIZES)
    app.add_middleware(Gate, settings=parts.settings, doors=parts.doors)
    if parts.settings.gateway_anonymous != "none":
        _say_that_tokens_are_optional(app)
    return app


def _say_that_tokens_are_optional(app: FastAPI) -> None:
    """Describe the API, once somebody asks, as it is where people may do something who aren't signed in."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            for methods in describe()["paths"].values():
                for operation in methods.values():
                    if "security" in operation:
                        operation["security"].append({})
        return describe()

    app.openapi = described  # type: ignore[method-assign]  # as FastAPI's documentation has it
