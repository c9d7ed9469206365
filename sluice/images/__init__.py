"""Decodes images to the pixels that a model wants, and packs many of them into one request's body.

TorchServe's archives include this package too, so that people's and consumers' photos are decoded by the same code. So
it imports only packages that archives have: Pillow, numpy, cykooz-resizer, sluice.errors and sluice.domain. Handlers
import only this package, so it exports its errors too.
"""

from sluice.domain.running import BF16, FP32, INT8, OPENVINO, RUNTIMES, TORCH
from sluice.errors import BatchError, CardError, ImageError, WeightsError
from sluice.images.batch import BATCH_TYPE, CARD_TYPE, pack, unpack
from sluice.images.decode import decode, decode_sized, decode_whole
from sluice.images.identity import NO_WEIGHTS, check_card, check_weights, digest_of
from sluice.images.preprocessing import VERSION, Preprocessing

__all__ = [
    "BATCH_TYPE",
    "BF16",
    "CARD_TYPE",
    "FP32",
    "INT8",
    "NO_WEIGHTS",
    "OPENVINO",
    "RUNTIMES",
    "TORCH",
    "VERSION",
    "BatchError",
    "CardError",
    "ImageError",
    "Preprocessing",
    "WeightsError",
    "check_card",
    "check_weights",
    "decode",
    "decode_sized",
    "decode_whole",
    "digest_of",
    "pack",
    "unpack",
]
