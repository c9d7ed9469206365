"""The application: routes, errors and headers put together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

import sluice
from gateway import problems
from gateway.api import feedback, predictions, quarantine, results, uploads
from gateway.api import jobs as jobs_api
from gateway.api import models as models_api
from gateway.pages import classify
from gateway.pages import jobs as jobs_pages
from gateway.pages import models as models_pages
from gateway.pages import reports as reports_pages
from gateway.pages import results as results_pages
from gateway.parts import Parts

API: Final = (
    predictions.router,
    jobs_api.router,
    results.router,
    quarantine.router,
    models_api.router,
    feedback.router,
    uploads.router,
)
PAGES: Final = (
    classify.router,
    results_pages.router,
    jobs_pages.router,
    models_pages.router,
    reports_pages.router,
)
STATIC: Final = Path(__file__).parent / "static"


def make_app(parts: Parts) -> FastAPI:
    """Return the application that answers with these parts."""
    app = FastAPI(title="Sluice", version=sluice.__version__, redoc_url=None, description=__doc__ or "")
    app.state.parts = parts
    problems.install(app)
    api = APIRouter(prefix="/api/v1")
    for router in API:
        api.include_router(router)
    app.include_router(api)
    for router in PAGES:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
