"""The API described for people, made from the same OpenAPI document that programs get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gateway.pages.render import page

router = APIRouter(include_in_schema=False)

METHODS: Final = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class DescribedRoute:
    """One method of one path."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, Any]]
    bodies: list[str]
    answers: dict[str, str]


@router.get("/docs")
async def show(request: Request) -> Response:
    """Show what the API takes and answers."""
    return await page(request, "docs.html", groups=described(request.app.openapi()))


def described(document: dict[str, Any]) -> dict[str, list[DescribedRoute]]:
    """Return the document's routes by their tag."""
    groups: dict[str, list[DescribedRoute]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method not in methods:
                continue
            route = methods[method]
            groups.setdefault(route.get("tags", ["other"])[0], []).append(
                DescribedRoute(
                    method.upper(),
                    path,
                    route.get("summary", ""),
                    route.get("description", ""),
                    route.get("parameters", []),
                    list(route.get("requestBody", {}).get("content", {})),
                    {code: answer["description"] for code, answer in route["responses"].items()},
                )
            )
    return groups
