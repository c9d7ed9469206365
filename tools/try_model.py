"""Loads an unpacked model archive as TorchServe would, and prints its prediction for a photo; build-model runs it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


class OneRequest:
    """The part of TorchServe's context that the handler uses."""

    def __init__(self, folder: str) -> None:
        self.system_properties = {"model_dir": folder, "gpu_id": None}

    def get_request_header(self, _index: int, _name: str) -> None:
        """Return None: the request has no headers."""

    def set_response_content_type(self, _index: int, _value: str) -> None:
        """Do nothing."""

    def set_response_status(self, code: int, phrase: str, _index: int) -> None:
        """Print a refusal."""
        raise SystemExit(f"{code} {phrase}")


folder, photo = sys.argv[1], Path(sys.argv[2])
context = OneRequest(folder)
handler = importlib.import_module("sluice_handler").SluiceHandler()  # the archive's: its folder is first in PYTHONPATH
handler.initialize(context)
best = json.loads(handler.handle([{"body": photo.read_bytes()}], context)[0])
print(f"sample   {photo.name}: " + ", ".join(f"{label} {score:.3f}" for label, score in list(best.items())[:3]))
