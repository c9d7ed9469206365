"""What a route may answer beside what it is for, as the API's description says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, Field

from gateway.problems import PROBLEM


class ProblemAnswer(BaseModel):
    """Why a request can't be answered as it was meant, as RFC 9457 has it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What happened, and what to do")
    instance: str | None = Field(default=None, description="The path that was asked")


BODY: Final = (400, 408, 413)
"""What routes that read a body may answer too: it can't be read, comes too slowly, is too large."""


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return these statuses for `responses` of a route, and 429, which any may answer: each is a problem."""
    content = {PROBLEM: {"schema": ProblemAnswer.model_json_schema()}}
    declared = sorted({*statuses, HTTPStatus.TOO_MANY_REQUESTS})
    return {int(status): {"description": HTTPStatus(status).phrase, "content": content} for status in declared}
