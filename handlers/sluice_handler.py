"""The TorchServe handler of every model: images in, top classes out; optionally with an explanation of the class.

There are two kinds of requests. Consumers send packed uint8 batches (sluice.images.batch) and get class numbers; people
send a file (`curl -T cat.jpg`) and get labels. All requests of one server-side batch go through the network together.
An unreadable image is answered with 400 and a reason. If the network fails on an image, that image alone is answered
with 500 and the error. A request with the card's Content-Type, or at the management
port (`GET /models/NAME/VERSION?customized=true`), gets model.json unchanged; with `runs_as` added if this machine can't
run the model as it says.

`POST /explanations/NAME` takes one picture, in either form, and answers with a map (`handlers.explanation`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from handlers.explanation import explain
from handlers.loaded import LoadedNetwork
from sluice.images import (
    BATCH_TYPE,
    CARD_TYPE,
    VERSION,
    BatchError,
    CardError,
    ImageError,
    Preprocessing,
    check_card,
    decode,
    unpack,
)

MAX_PIXELS: Final = 100_000_000
"""For a person's photo. Consumers have their own setting and send pixels."""

TOP: Final = 10
BAD_REQUEST: Final = 400
FAILED: Final = 500
SAID_MAX: Final = 300
"""Maximum length of an exception's message. TorchServe itself would only say 'Prediction failed'."""

Tops = list[list[tuple[int, float]] | None]

logger = logging.getLogger(__name__)


class SluiceHandler:
    """Predicts for one model archive; TorchServe makes one in each worker process.

    Not a BaseHandler: its module imports whatever torch.compile may run on, 3 s and 350 MB in each process.
    """

    def initialize(self, context: Any) -> None:  # noqa: ANN401 - TorchServe has no types
        """Load the archive's network, if its digest matches its card, weights and code."""
        properties = context.system_properties
        folder = Path(properties["model_dir"])
        gpu = properties.get("gpu_id")
        on_gpu = gpu is not None and torch.cuda.is_available()
        device = torch.device(f"cuda:{gpu}" if on_gpu else "cpu")

        self.card = (folder / "model.json").read_text()
        card = json.loads(self.card)
        check_card(card)
        self.answer_head = {"model": f"{card['name']}@{card['version']}", "digest": card["digest"]}
        self.labels: list[str] = card["labels"]
        self.preprocessing = Preprocessing.from_dict(card["preprocessing"])
        if self.preprocessing.version != VERSION:
            raise CardError(
                f"model.json says preprocessing version {self.preprocessing.version}, the archive's code is {VERSION}: "
                f"build the archive again with scripts/build-model"
            )
        self.model = LoadedNetwork(folder, card, device)
        side = self.preprocessing.crop
        # The first run is slow: now, then.
        outputs = self.inference([np.zeros((1, side, side, 3), np.uint8)])
        if outputs.shape != (1, len(self.labels)):
            raise CardError(
                f"the network's output for one picture is of shape {tuple(outputs.shape)}, model.json has "
                f"{len(self.labels)} labels: build the archive again with scripts/build-model"
            )
        if self.model.runs_as.why:
            self.card = json.dumps({**card, "runs_as": self.model.runs_as.to_dict()}, indent=1)
        self.initialized = True
        way = self.model.runs_as
        told = (self.answer_head["model"], way.runtime, way.precision, device, torch.get_num_threads())
        logger.info("%s by %s in %s on %s with %d threads", *told)

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[str]:  # noqa: ANN401
        """Answer a server-side batch of requests, each a packed batch, a file, or a question for the card."""
        if _is_description(context):
            return [self.card]
        readings = [self._read(row, _content_type(context, index)) for index, row in enumerate(data)]
        wanted = [_wants_explanation(context, index) for index in range(len(data))]
        together = [
            each for each, alone in zip(readings, wanted, strict=True) if isinstance(each, np.ndarray) and not alone
        ]
        results = iter(self._results(together))
        answers = []
        for index, (row, reading) in enumerate(zip(data, readings, strict=True)):
            context.set_response_content_type(index, "application/json")
            if reading is None:
                answers.append(self.card)
                continue
            if isinstance(reading, ImageError):
                context.set_response_status(BAD_REQUEST, f"Bad image: {reading.reason}", index)
                answers.append(json.dumps({"error": reading.detail, "reason": reading.reason}))
                continue
            if wanted[index]:
                answers.append(json.dumps(self._explain(reading)))
                continue
            mine = next(results)
            if isinstance(mine, str):
                context.set_response_status(FAILED, "Prediction failed", index)
                answers.append(json.dumps({"error": mine}))
                continue
            packed = _is_packed(_content_type(context, index), row)
            answers.append(self._for_consumer(mine) if packed else self._for_person(mine[0]))
        return answers

    def _results(self, requests: Sequence[NDArray[np.uint8]]) -> list[Tops | str]:
        """Return each request's best classes, or its error if the request itself causes it."""
        if not requests:
            return []
        try:
            tops = self.postprocess(self.inference(requests))
        except Exception as error:
            # TorchServe itself detects lack of memory and broken GPUs, which are no picture's fault.
            if isinstance(error, MemoryError) or "CUDA" in str(error):
                raise
            if len(requests) > 1:
                return [result for request in requests for result in self._results([request])]
            logger.exception("the network fails")
            return [" ".join(f"{type(error).__name__}: {error}".split())[:SAID_MAX]]
        ends = np.cumsum([len(request) for request in requests]).tolist()
        return [tops[end - len(request) : end] for request, end in zip(requests, ends, strict=True)]

    def _explain(self, images: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the explanation of a request's one picture, or why there is none."""
        if len(images) != 1:
            return {**self.answer_head, "error": f"{len(images)} pictures were sent: send one at a time"}
        found = explain(self.model.network, self.model.prepared(images))
        if isinstance(found, str):
            return {**self.answer_head, "error": found}
        return {**self.answer_head, "label": self.labels[found["class"]], **found}

    def inference(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Return the probabilities of each picture of some arrays (n, height, width, 3)."""
        return self.model.probabilities(pictures)

    def postprocess(self, probabilities: torch.Tensor) -> list[list[tuple[int, float]] | None]:
        """Return each image's best classes, best first; None if the network's output isn't finite."""
        finite = probabilities.isfinite().all(1).tolist()
        scores, classes = probabilities.topk(min(TOP, probabilities.shape[1]), dim=1)
        return [
            list(zip(numbers, (round(value, 6) for value in values), strict=True)) if good else None
            for numbers, values, good in zip(classes.tolist(), scores.tolist(), finite, strict=True)
        ]

    def _read(self, row: Mapping[str, Any], content_type: str) -> NDArray[np.uint8] | ImageError | None:
        """Return a request's images, its error, or None if it asks for the card."""
        if content_type.startswith(CARD_TYPE):
            return None
        try:
            body = _body(row)
            if not _is_packed(content_type, row):
                return decode(body, self.preprocessing, MAX_PIXELS)[np.newaxis]
            images = unpack(body)
        except BatchError as error:
            return ImageError("bad_batch", str(error))
        except ImageError as error:
            return error
        side, (height, width) = self.preprocessing.crop, images.shape[1:3]
        if (height, width) != (side, side):
            return ImageError("bad_batch", f"its images are {width} x {height}: this model wants {side} x {side}")
        return images

    def _for_consumer(self, tops: Sequence[list[tuple[int, float]] | None]) -> str:
        predictions = [{"error": "the network's output is not finite"} if top is None else top for top in tops]
        return json.dumps({**self.answer_head, "predictions": predictions}, separators=(",", ":"))

    def _for_person(self, top: list[tuple[int, float]] | None) -> str:
        if top is None:
            return json.dumps({"error": "the network's output is not finite"})
        # Two classes of ImageNet have the same name: the better one is kept.
        best = {self.labels[number]: score for number, score in reversed(top)}
        return json.dumps(dict(sorted(best.items(), key=lambda item: -item[1])), indent=2, ensure_ascii=False) + "\n"


def _content_type(context: Any, index: int) -> str:  # noqa: ANN401
    return (context.get_request_header(index, "Content-Type") or "").lower()


def _wants_explanation(context: Any, index: int) -> bool:  # noqa: ANN401
    """Return whether a request came to /explanations: TorchServe sets a header for it."""
    return str(context.get_request_header(index, "explain")) == "True"


def _is_description(context: Any) -> bool:  # noqa: ANN401
    """Return whether the management port asks: such a request comes alone, with a header of TorchServe's own."""
    return str(context.get_request_header(0, "describe")) == "True"


def _is_packed(content_type: str, row: Mapping[str, Any]) -> bool:
    return content_type.startswith(BATCH_TYPE) and "body" in row


def _body(row: Mapping[str, Any]) -> bytes | bytearray:
    """Return the file: TorchServe calls a request's body 'body', and a form's fields as the sender named them."""
    body = row.get("body", row.get("data"))
    if not isinstance(body, bytes | bytearray):
        raise ImageError("not_an_image", "send the file itself as the body (curl -T cat.jpg), or as form field 'data'")
    return body
