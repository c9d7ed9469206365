"""Every error that Sluice raises on purpose.

SluiceError
├── ConfigurationError      a setting or an argument is wrong
│   └── NotServed           a model's version isn't served everywhere yet
├── ProtocolError           a frame that can't be read
├── LedgerError             the database rejected a statement
│   ├── LedgerUnavailable   the database can't be reached, for now
│   ├── TablesMissing       the database answers, but its tables are missing or outdated
│   ├── LockLost            the connection that held a lock is gone
│   └── ShardTaken          another producer owns the shard now
├── SourceError             the bucket or folder as a whole can't be read
│   ├── SourceMissing       the bucket or folder does not exist
│   ├── ReadRefused         the storage refuses one read: the fault of the object, or of the storage
│   │   └── ReadBrokenOff   its answer began, and ended too early
│   └── ObjectError         one object can't be classified, by its own fault
│       └── ObjectChanged   (sluice.objects) the key holds other bytes now
├── ImageError              bytes can't be decoded, by their own fault
├── BatchError              a request's body isn't a packed batch
├── CardError               a model's card and its archive don't belong together
├── WeightsError            a file of weights or a program can't be used, or holds code
├── LoadFailed              TorchServe doesn't serve a published version
├── BuildError              a recipe and what it names can't become a model archive
├── TrainingError           pictures and labels can't become a model
├── TrainingStopped         a training was cancelled, or another trainer has it now
├── InferenceError          TorchServe gave no prediction
│   ├── Overloaded          TorchServe is full: try again later
│   ├── BatchRefused        TorchServe answered this batch with an error
│   │   └── Exhausted       the model lacked memory for it
│   └── EndpointDown        TorchServe returns no predictions
│       └── TimedOut        TorchServe took the batch and gave no answer in time
└── RequestError            a request to the gateway can't be answered
    └── Busy                the gateway is full: retry in some seconds

ObjectChanged is defined with the sources: it includes the object as it is listed now, and this module imports nothing.
Model archives include this file next to sluice.images, so it needs only the standard library.

A message says what was expected, what was found, and what to do next.
"""

from __future__ import annotations


class SluiceError(Exception):
    """Raised when no other error fits; the base class of all of Sluice's errors."""


class ConfigurationError(SluiceError):
    """Raised when a setting, an argument or a model archive can't be used as it is."""


class NotServed(ConfigurationError):
    """Raised when a version can't become live yet, because not every TorchServe serves it."""


class ProtocolError(SluiceError):
    """Raised when a message is of an unknown version or kind, or its frames are malformed."""


class LedgerError(SluiceError):
    """Raised when the database rejects a statement that should have worked (for example, there is no such job)."""


class LedgerUnavailable(LedgerError):
    """Raised when the database stays unreachable, read-only or out of space after the retries."""


class TablesMissing(LedgerError):
    """Raised when the database answers but lacks a table or column: `sluice db upgrade` hasn't run yet."""


class LockLost(LedgerError):
    """Raised when the connection that held a lock is lost: another process may hold the lock now."""


class ShardTaken(LedgerError):
    """Raised when another producer took over this shard while the database was away."""


class SourceError(SluiceError):
    """Raised when a bucket or folder can't be listed or read at all: wrong name, credentials or network."""


class SourceMissing(SourceError):
    """Raised when the bucket or folder doesn't exist; SourceError if it doesn't answer."""


class ReadRefused(SourceError):
    """Raised when the storage refuses the read of one object, which may be the object's fault or the storage's.

    Whether other objects of the source can be read meanwhile decides.
    """


class ReadBrokenOff(ReadRefused):
    """Raised when the bytes of a read end too early, which fewer bytes might not."""


class ObjectError(SourceError):
    """Raised when one object can't be classified, by its own fault; `reason` is a `Reason` or a `ReadFailure`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImageError(SluiceError):
    """Raised when bytes can't be decoded, by their own fault; `reason` is the quarantine's code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BatchError(SluiceError, ValueError):
    """Raised when a body isn't a packed batch."""


class CardError(SluiceError, ValueError):
    """Raised when a card doesn't match its archive."""


class WeightsError(SluiceError, ValueError):
    """Raised when a file of weights or a program can't be used, or holds what could run as code."""


class LoadFailed(SluiceError):
    """Raised when TorchServe doesn't serve a published version; `fault` is what is to blame.

    `archive`: its bytes; `memory`: there is too little now; `model`: its worker fails; `server`: anything else here.
    """

    def __init__(self, detail: str, fault: str = "server") -> None:
        super().__init__(detail)
        self.fault = fault


class BuildError(SluiceError):
    """Raised when a recipe, or what it names, can't become a model archive; the message says what to do."""


class TrainingError(SluiceError):
    """Raised when pictures and labels can't become a model as they are; the message says what to correct."""


class TrainingStopped(SluiceError):
    """Raised when a training was cancelled or taken over meanwhile, or its process is told to stop."""


class InferenceError(SluiceError):
    """Raised when TorchServe's answer has no predictions for the batch."""


class Overloaded(InferenceError):
    """Raised when TorchServe takes no batch for now: its queue is full, or the model has no worker yet."""


class BatchRefused(InferenceError):
    """Raised when an endpoint answers one batch with an error, which may be the batch's fault or the endpoint's."""


class Exhausted(BatchRefused):
    """Raised when a model ran out of memory on a batch: a smaller one may fit, and no image is at fault."""


class EndpointDown(InferenceError):
    """Raised when an endpoint refuses, times out, or answers without its model loaded."""


class TimedOut(EndpointDown):
    """Raised when an endpoint doesn't answer a batch in time: it hangs on this batch, or on one before it."""


class RequestError(SluiceError):
    """Raised when a request to the gateway can't be answered; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Busy(RequestError):
    """Raised when the gateway is full; the client may retry after `seconds`."""

    def __init__(self, detail: str, seconds: int, status: int = 503) -> None:
        super().__init__(status, detail)
        self.seconds = seconds
