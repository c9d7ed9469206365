"""Every error that Sluice raises on purpose.

SluiceError
├── ConfigurationError      a setting or an argument is wrong
├── ProtocolError           a frame that can't be understood
├── LedgerError             the database refused what was asked
│   ├── LedgerUnavailable   the database can't be reached, for now
│   ├── TablesMissing       the database answers, but has no tables yet, or older ones
│   ├── LockLost            (sluice.ledger) the connection that held a lock is gone
│   └── ShardTaken          (producer.shard) another producer owns the shard now
├── SourceError             the bucket or folder as a whole can't be read
│   └── ObjectError         one object can't be classified, by its own fault
└── InferenceError          TorchServe gave no prediction
    ├── Overloaded          TorchServe is full: try again later
    ├── BatchRefused        TorchServe answered this batch with an error
    │   └── Exhausted       the model lacked memory for it
    └── EndpointDown        TorchServe doesn't answer with predictions
        └── TimedOut        TorchServe took the batch and gave no answer in time

A message says what was expected, what was found, and what to do next.
"""

from __future__ import annotations


class SluiceError(Exception):
    """Raised when nothing more precise fits; catch it to catch all of Sluice's errors."""


class ConfigurationError(SluiceError):
    """Raised when a setting, an argument or a model archive can't be used as it is."""


class ProtocolError(SluiceError):
    """Raised when a message is of an unknown version or kind, or its frames are malformed."""


class LedgerError(SluiceError):
    """Raised when the database refuses a statement that should have worked (no such job, say)."""


class LedgerUnavailable(LedgerError):
    """Raised when the database stays unreachable, read-only or out of space after the retries."""


class TablesMissing(LedgerError):
    """Raised when the database answers but lacks a table or column: `sluice db upgrade` is still to come."""


class SourceError(SluiceError):
    """Raised when a bucket or folder can't be listed or read at all: wrong name, credentials or network."""


class ObjectError(SourceError):
    """Raised when one object can't be classified and the fault is its own; `reason` is the quarantine's code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class InferenceError(SluiceError):
    """Raised when TorchServe answered, but not with predictions for what was sent."""


class Overloaded(InferenceError):
    """Raised when TorchServe takes no batch for now: its queue is full, or the model has no worker yet."""


class BatchRefused(InferenceError):
    """Raised when an endpoint answers one batch with an error, which may be the batch's fault or the endpoint's."""


class Exhausted(BatchRefused):
    """Raised when a model ran out of memory on a batch: a smaller one may fit, and no image is at fault."""


class EndpointDown(InferenceError):
    """Raised when an endpoint refuses, times out, or answers without its model loaded."""


class TimedOut(EndpointDown):
    """Raised when an endpoint took a batch and gave no answer in time: it hangs on this batch, or on another's."""
