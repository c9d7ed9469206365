"""Parameters and results of the ledger's functions, as frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sluice.drift import PictureMeasures

DETAIL_MAX: Final = 500
"""Maximum length of an object's `detail`, in characters."""
ENDED: Final = ("done", "failed", "cancelled")
"""States of jobs and trainings that stay until somebody asks for more."""


def shortened(text: str, length: int) -> str:
    """Return text that fits a column: shortened, and without unpaired surrogates (which odd file names have)."""
    return text[:length].encode("utf-8", "replace").decode()


def packed_top(top: Sequence[tuple[str, float]]) -> str:
    """Return the best classes as JSON for their column, without spaces: every row would have nineteen of them."""
    return json.dumps(top, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Job:
    """A row of `jobs`."""

    id: int
    source: str
    model: str
    model_id: int | None
    state: str
    priority: int
    watch: bool
    watch_seconds: int
    repeats: int
    message: str
    created: datetime
    started: datetime | None
    finished: datetime | None


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A row of the view `job_progress`."""

    job: int
    source: str
    state: str
    listed: int
    pending: int
    done: int
    quarantined: int
    superseded: int
    listing_complete: bool
    images_per_second: float
    eta_seconds: float | None
    message: str


@dataclass(frozen=True, slots=True)
class ListingState:
    """The state of a job's listing; `age_seconds` is since its last page."""

    cursor: bytes
    repeat_no: int
    passes: int
    complete: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class PageChanges:
    """The changes that a page made; `replayed` counts quarantined objects that are pending again.

    `reopened` says that the job was done, and runs again; `set_back`, that nothing was written, since the ledger stands
    at another place of the listing.
    """

    new: int
    superseded: int
    replayed: int = 0
    reopened: bool = False
    set_back: bool = False


@dataclass(frozen=True, slots=True)
class PendingObject:
    """An object that waits for its prediction."""

    id: int
    key: bytes
    etag: str
    size: int
    deaths: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction to commit."""

    object_id: int
    job_id: int
    model_id: int
    label: str
    score: float
    top: tuple[tuple[str, float], ...]
    sha256: bytes
    consumer: str
    measures: PictureMeasures | None = None
    """None: its answer was known, so the picture wasn't decoded."""


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """An object to quarantine; `reason` is a `Reason`."""

    object_id: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class QuarantinedObject:
    """A quarantined object, for people."""

    id: int
    job: int
    url: str
    reason: str
    detail: str
    size: int
    deaths: int
    when: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the view `results`."""

    object_id: int
    job: int
    url: str
    label: str
    score: float
    model: str
    predicted: datetime
    top: tuple[tuple[str, float], ...]
