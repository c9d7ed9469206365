"""Loads an unpacked model archive as TorchServe would and prints what it sees on a photo; build-model runs it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


class OneRequest:
    """As much of TorchServe's context as the handler asks for."""

    def __init__(self, folder: str) -> None:
        self.system_properties = {"model_dir": folder, "gpu_id": None}

    def get_request_header(self, _index: int, _name: str) -> None:
        """Say that the request has no headers."""

    def set_response_content_type(self, _index: int, _value: str) -> None:
        """Ignore it."""

    def set_response_status(self, code: int, phrase: str, _index: int) -> None:
        """Make a refusal visible."""
        raise SystemExit(f"{code} {phrase}")


folder, photo = sys.argv[1], Path(sys.argv[2])
context = OneRequest(folder)
handler = importlib.import_module("sluice_handler").SluiceHandler()  # the archive's: its folder leads PYTHONPATH
handler.initialize(context)
best = json.loads(handler.handle([{"body": photo.read_bytes()}], context)[0])
print(f"sample   {photo.name}: " + ", ".join(f"{label} {score:.3f}" for label, score in list(best.items())[:3]))
