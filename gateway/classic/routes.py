"""All classic routes."""

from __future__ import annotations

from typing import Final

from gateway.classic import batches, page, people, pictures, reports

ROUTERS: Final = (page.router, pictures.router, batches.router, reports.router, people.router)
