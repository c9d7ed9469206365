"""The ledger: all SQL but the migrations'. Functions take a cursor; `Database.run` gives them one in a transaction.

with Database(settings) as database:
    job = database.run(lambda cursor: jobs.submit(cursor, "s3://photos"))
"""

from sluice.ledger import check, jobs, listing, models, objects, predictions, progress
from sluice.ledger.connection import Cursor, Database, LockLost
from sluice.ledger.rows import (
    Added,
    Failed,
    Job,
    Listed,
    Listing,
    Model,
    PendingObject,
    Prediction,
    Progress,
    Quarantined,
    Result,
)

__all__ = [
    "Added",
    "Cursor",
    "Database",
    "Failed",
    "Job",
    "Listed",
    "Listing",
    "LockLost",
    "Model",
    "PendingObject",
    "Prediction",
    "Progress",
    "Quarantined",
    "Result",
    "check",
    "jobs",
    "listing",
    "models",
    "objects",
    "predictions",
    "progress",
]
