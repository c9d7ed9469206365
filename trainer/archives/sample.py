"""Loads an unpacked model archive as TorchServe would and tries it; a process of its own, which the build starts.

`sample.py FOLDER [PHOTO]` uses the handler and the code that the archive carries.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any, Final

BATCH: Final = 3
NEAR: Final = 1e-3
SAME: Final = 1e-4
"""Of a probability: so near to torch's is whatever else runs a network in fp32."""


class OneRequest:
    """As much of TorchServe's context as the handler asks for."""

    def __init__(self, folder: str, content_type: str | None = None) -> None:
        self.system_properties = {"model_dir": folder, "gpu_id": None}
        self._headers = {"Content-Type": content_type}

    def get_request_header(self, _index: int, name: str) -> str | None:
        """Say what kind of body was sent."""
        return self._headers.get(name)

    def set_response_content_type(self, _index: int, _value: str) -> None:
        """Ignore it."""

    def set_response_status(self, code: int, phrase: str, _index: int) -> None:
        """Note a refusal; the answer says more."""
        print(f"{code} {phrase}", file=sys.stderr)


def main(folder: str, photo: Path | None) -> None:
    """Have the archive answer for a batch, for its pictures alone, and for a photo."""
    sys.path.insert(0, folder)
    handler = importlib.import_module("sluice_handler").SluiceHandler()
    handler.initialize(OneRequest(folder))
    if handler.model.runs_as.why:
        sys.exit(f"it can't run here as the recipe says: {handler.model.runs_as.why}")
    images = importlib.import_module("sluice.images")
    numpy = importlib.import_module("numpy")
    dice, side = numpy.random.default_rng(1), handler.preprocessing.crop
    pictures = [dice.integers(0, 256, (side, side, 3)).astype(numpy.uint8) for _ in range(BATCH)]
    together = predictions(handler, folder, images, pictures)
    alone = [predictions(handler, folder, images, [picture])[0] for picture in pictures]
    for joined, single in zip(together, alone, strict=True):
        scores = dict(map(tuple, single))
        if any(abs(scores.get(number, score) - score) > NEAR for number, score in joined):
            sys.exit("a picture's scores depend on the pictures beside it: is the network in eval mode?")
    if handler.model.runs_as.precision == images.FP32:
        batch = numpy.stack(pictures)
        apart = float((handler.model.probabilities([batch]) - handler.model.by_torch(batch)).abs().max())
        if not apart <= SAME:
            sys.exit(f"{handler.model.runs_as.runtime} answers otherwise than torch, by {apart:.1g}")
    if photo is None:
        print("sample   none: scikit-image, which has the photo, isn't installed")
        return
    best = json.loads(handler.handle([{"body": photo.read_bytes()}], OneRequest(folder))[0])
    print(f"sample   {photo.name}: " + ", ".join(f"{label} {score:.3f}" for label, score in list(best.items())[:3]))


def predictions(handler: Any, folder: str, images: Any, pictures: list[Any]) -> list[Any]:  # noqa: ANN401 - the archive's own
    """Return what the handler answers to a consumer."""
    body = {"body": bytes(images.pack(pictures))}
    (said,) = handler.handle([body], OneRequest(folder, images.BATCH_TYPE))
    answer = json.loads(said)
    if "predictions" not in answer or any(isinstance(each, dict) for each in answer["predictions"]):
        sys.exit(f"it gives no scores: {said[:300]}")
    found: list[Any] = answer["predictions"]
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)  # noqa: PLR2004 - program, folder, photo
