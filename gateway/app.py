"""The application: routes, errors and headers put together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

import sluice
from gateway import problems
from gateway.api import predictions
from gateway.pages import classify
from gateway.parts import Parts

API: Final = (predictions.router,)
PAGES: Final = (classify.router,)
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
