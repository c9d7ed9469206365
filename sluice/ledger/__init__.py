"""The ledger: all SQL except the migrations'. Functions take a cursor; `Database.run` passes it, in a transaction.

with Database(settings) as database:
    job = database.run(jobs.submit, "s3://photos")
"""

from sluice.ledger import (
    again,
    again_listing,
    answers,
    check,
    jobs,
    listing,
    models,
    objects,
    pictures,
    predictions,
    progress,
    serving,
    sessions,
    tokens,
    trainings,
    trial_predictions,
    trials,
    users,
)
from sluice.ledger.asynchronous import AsyncLedger
from sluice.ledger.connection import Database, LedgerCursor
from sluice.ledger.rows import (
    Job,
    JobProgress,
    ListingState,
    PageChanges,
    PendingObject,
    Prediction,
    QuarantinedObject,
    QuarantineEntry,
    Result,
)

__all__ = [
    "AsyncLedger",
    "Database",
    "Job",
    "JobProgress",
    "LedgerCursor",
    "ListingState",
    "PageChanges",
    "PendingObject",
    "Prediction",
    "QuarantineEntry",
    "QuarantinedObject",
    "Result",
    "again",
    "again_listing",
    "answers",
    "check",
    "jobs",
    "listing",
    "models",
    "objects",
    "pictures",
    "predictions",
    "progress",
    "serving",
    "sessions",
    "tokens",
    "trainings",
    "trial_predictions",
    "trials",
    "users",
]
