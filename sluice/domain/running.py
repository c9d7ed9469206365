"""How a model's network is run: by which runtime, and with which numbers."""

from __future__ import annotations

from typing import Final

TORCH: Final = "torch"
OPENVINO: Final = "openvino"
RUNTIMES: Final = (TORCH, OPENVINO)

FP32: Final = "fp32"
BF16: Final = "bf16"
INT8: Final = "int8"
PRECISIONS: Final = (FP32, BF16, INT8)
