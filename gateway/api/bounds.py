"""What parameters may be, for routes of the API and pages alike: everything has a bound, and texts can be kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict

from gateway.cursors import CURSOR_MAX
from sluice.domain import LABEL_MAX

ID_MAX: Final = 2**32 - 1
OBJECT_MAX: Final = 2**53 - 1
"""The largest that every program reads from JSON as it was written."""
PRIORITY_MAX: Final = 1000
MODEL_MAX: Final = 97
TEXT_MAX: Final = 200
COMMENT_MAX: Final = 1000
PAGE: Final = 50
PAGE_MAX: Final = 500


def plain(text: str) -> str:
    """Return a text that the ledger can keep, or say why it can't."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("the text has a NUL, or half a character: send it without")
    return text


def in_utc(moment: datetime) -> datetime:
    """Return a moment out of the ledger, whose times are UTC's, with its zone."""
    return moment.replace(tzinfo=UTC)


class StrictRequest(BaseModel):
    """A body of JSON: no field beside those that are named, and each of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True)


PlainText = Annotated[str, AfterValidator(plain)]
Moment = Annotated[datetime, AfterValidator(in_utc)]
JobId = Annotated[int, Path(ge=1, le=ID_MAX, description="The job's number", examples=[1])]
ObjectId = Annotated[int, Path(ge=1, le=OBJECT_MAX, description="The object's number")]
ListCursor = Annotated[
    PlainText, Query(alias="cursor", max_length=CURSOR_MAX, description="`next` of the page before; empty: the first")
]
PageSize = Annotated[int, Query(alias="limit", ge=1, le=PAGE_MAX, description="So many at most")]
Label = Annotated[PlainText, Query(max_length=LABEL_MAX)]
