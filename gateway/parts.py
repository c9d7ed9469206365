"""The parts that routes work with, made once a process and handed to the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from gateway.classifier import Classifier
from gateway.comparer import Comparer
from gateway.doors.doors import Doors
from gateway.explainer import Explainer
from gateway.exports import Exports
from gateway.feed import JobFeed
from gateway.ledgers import LedgerPool
from gateway.live_models import LiveModels
from gateway.repeats import Repeats
from gateway.store import PictureStore
from gateway.uploads.receiver import ArchiveReceiver
from gateway.viewer import PictureViewer
from sluice.settings import Settings


@dataclass(frozen=True)
class Parts:
    """What a route may use."""

    settings: Settings
    ledger: LedgerPool
    models: LiveModels
    store: PictureStore
    classifier: Classifier
    doors: Doors
    exports: Exports
    feed: JobFeed
    repeats: Repeats
    receiver: ArchiveReceiver
    viewer: PictureViewer
    explainer: Explainer
    comparer: Comparer


def parts_of(request: Request) -> Parts:
    """Return the parts of the application that answers this request."""
    return cast("Parts", request.app.state.parts)
