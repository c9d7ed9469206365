"""Reads TorchServe's answer to a packed batch; `sluice.images.batch` packs the request.

The answer is checked strictly, because a prediction becomes a row that nobody checks again: an answer of another model,
of the wrong length or with a label that the model doesn't have is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from sluice.domain import Model
from sluice.errors import EndpointDown


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's answer for one image: (index of label, score), best first."""

    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The handler's reason why it can't take an image."""

    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How much each part of the square that the model saw contributes to its best class."""

    label: int
    score: float
    rows: int
    columns: int
    parts: bytes
    """Row by row from the top; 255 contributes most."""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """The message of an answer other than 200, and whether it comes from a worker that had the batch."""

    said: str
    is_workers: bool


class _Error(msgspec.Struct, frozen=True):
    error: str


class _Trouble(msgspec.Struct, frozen=True):
    """TorchServe's errors have `type` and `message`, the handler's `error`."""

    type: str = ""
    message: str = ""
    error: str = ""


class _Reply(msgspec.Struct, frozen=True):
    model: str
    digest: str
    predictions: list[list[tuple[int, float]] | _Error]


class _ExplanationReply(msgspec.Struct, frozen=True):
    model: str
    digest: str
    error: str = ""
    label: int = msgspec.field(default=-1, name="class")
    score: float = 0.0
    rows: int = 0
    columns: int = 0
    map: bytes = b""


_decoder: Final = msgspec.json.Decoder(_Reply)
_explanation_decoder: Final = msgspec.json.Decoder(_ExplanationReply)
_trouble_decoder: Final = msgspec.json.Decoder(_Trouble)

FROM_WORKER: Final = "InternalServerException"
"""TorchServe's error type for a batch that made a worker raise, die or time out. A full queue has another."""
WORKER_DIED: Final = "Worker died."
SAID_MAX: Final = 300


def path(model: Model) -> str:
    """Return the URL path for predictions of `model`."""
    return f"/predictions/{model.name}/{model.version}"


def explanation_path(model: Model) -> str:
    """Return the URL path for explanations of `model`."""
    return f"/explanations/{model.name}/{model.version}"


def parse(body: bytes, model: Model, count: int) -> list[Answer | Refusal]:
    """Return the answers for `count` images, or raise EndpointDown if this isn't an answer of `model`."""
    try:
        reply = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EndpointDown(f"the answer can't be read ({error}): is this TorchServe with Sluice's handler?") from None
    _check_digest(reply, model)
    if len(reply.predictions) != count:
        raise EndpointDown(f"{count} images were sent, {len(reply.predictions)} predictions came back")
    return [_answer(entry, len(model.labels)) for entry in reply.predictions]


def parse_explanation(body: bytes, model: Model) -> Explanation | Refusal:
    """Return an explanation, or why the model gives none; raise EndpointDown if it isn't an explanation of `model`."""
    try:
        reply = _explanation_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EndpointDown(f"the answer can't be read ({error}): is this TorchServe with Sluice's handler?") from None
    _check_digest(reply, model)
    if reply.error:
        return Refusal(reply.error[:SAID_MAX])
    if reply.label < 0:
        raise EndpointDown(
            f"the archive of {model.name}@{model.version} was built before there were explanations: build it again "
            f"with scripts/build-model, and deploy it"
        )
    is_whole = reply.rows > 0 and reply.columns > 0 and len(reply.map) == reply.rows * reply.columns
    if reply.label >= len(model.labels) or not 0.0 <= reply.score <= 1.0 or not is_whole:
        raise EndpointDown(
            f"no explanation: label {reply.label} of {len(model.labels)}, score {reply.score}, {reply.rows} rows of "
            f"{reply.columns} and {len(reply.map)} parts"
        )
    return Explanation(reply.label, reply.score, reply.rows, reply.columns, reply.map)


def fault(body: bytes) -> ErrorAnswer:
    """Read an error's body; one that can't be read is shown unchanged."""
    try:
        found = _trouble_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _Trouble()
    said = found.error or found.message or body[:SAID_MAX].decode(errors="replace")
    return ErrorAnswer(" ".join(said.split())[:SAID_MAX], found.type == FROM_WORKER)


def _check_digest(reply: _Reply | _ExplanationReply, model: Model) -> None:
    if reply.digest != model.digest:
        raise EndpointDown(
            f"{reply.model[:100]} answers with digest {reply.digest[:64]}, the ledger has {model.digest} for "
            f"{model.name}@{model.version}: the endpoint serves another archive; deploy the registered one"
        )


def _answer(entry: list[tuple[int, float]] | _Error, labels: int) -> Answer | Refusal:
    if isinstance(entry, _Error):
        return Refusal(entry.error[:400])
    if not entry or any(not (0 <= index < labels and 0.0 <= score <= 1.0) for index, score in entry):
        raise EndpointDown(f"a prediction isn't a list of (label below {labels}, score from 0 to 1): {entry[:5]}")
    return Answer(tuple(entry))
