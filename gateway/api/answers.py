"""What a route may answer beside what it is for, as the API's description says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from gateway.problems import PROBLEM


class ProblemAnswer(BaseModel):
    """Why a request can't be answered as it was meant, as RFC 9457 has it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What happened, and what to do")
    instance: str | None = Field(default=None, description="The path that was asked")


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return these statuses for `responses` of a route: each is a problem."""
    content = {PROBLEM: {"schema": ProblemAnswer.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}
