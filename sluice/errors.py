"""Every error that Sluice raises on purpose.

SluiceError
├── ConfigurationError      a setting or an argument is wrong
├── ProtocolError           a frame that can't be understood
├── LedgerError             the database refused what was asked
│   ├── LedgerUnavailable   the database can't be reached, for now
│   ├── TablesMissing       the database answers, but has no tables yet, or older ones
│   ├── LockLost            the connection that held a lock is gone
│   └── ShardTaken          another producer owns the shard now
├── SourceError             the bucket or folder as a whole can't be read
│   ├── SourceMissing       the bucket or folder does not exist
│   ├── ReadRefused         the storage refuses one read: the object's fault, or everybody's
│   └── ObjectError         one object can't be classified, by its own fault
│       └── ObjectChanged   (sluice.objects) the key holds other bytes now
├── ImageError              bytes can't become pixels, by their own fault
├── BatchError              a request's body is no packed batch
├── CardError               a model's card and its archive don't belong together
├── InferenceError          TorchServe gave no prediction
│   ├── Overloaded          TorchServe is full: try again later
│   ├── BatchRefused        TorchServe answered this batch with an error
│   │   └── Exhausted       the model lacked memory for it
│   └── EndpointDown        TorchServe doesn't answer with predictions
│       └── TimedOut        TorchServe took the batch and gave no answer in time
└── RequestError            a request to the gateway can't be answered as it was meant
    └── Busy                the gateway has as much work as it takes: come back in some seconds

ObjectChanged stands where sources do: it carries the object as it is listed now, and nothing is imported here. Archives
of models carry this file beside sluice.images, so it needs the standard library only.

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


class LockLost(LedgerError):
    """Raised when the connection that held a lock was lost: another process may own what the lock stood for."""


class ShardTaken(LedgerError):
    """Raised when another producer took over this shard while the database was away."""


class SourceError(SluiceError):
    """Raised when a bucket or folder can't be listed or read at all: wrong name, credentials or network."""


class SourceMissing(SourceError):
    """Raised when the bucket or folder does not exist, as opposed to not answering."""


class ReadRefused(SourceError):
    """Raised when the storage answers the read of one object with an error that may be the object's own or everybody's.

    Only what else can be read of the source meanwhile tells which.
    """


class ObjectError(SourceError):
    """Raised when one object can't be classified, by its own fault; `reason` is a `Reason` or a `ReadFailure`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ImageError(SluiceError):
    """Raised when bytes can't become pixels, by their own fault; `reason` is the quarantine's code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BatchError(SluiceError, ValueError):
    """Raised when a body isn't a packed batch."""


class CardError(SluiceError, ValueError):
    """Raised when a card and what it names don't belong together."""


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


class RequestError(SluiceError):
    """Raised when a request to the gateway can't be answered as it was meant; `status` is the HTTP status of that."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Busy(RequestError):
    """Raised when nothing more can be taken for now; `seconds` says when to come back."""

    def __init__(self, detail: str, seconds: int, status: int = 503) -> None:
        super().__init__(status, detail)
        self.seconds = seconds
