"""Bytes of an image to the pixels a model wants, and many of those to one request's body.

TorchServe's archives carry this package too, so that a person's photo and a consumer's are decoded by the same lines.
It therefore imports Pillow, numpy, cykooz-resizer and what else archives carry: sluice.errors, sluice.domain. Handlers
know this package alone, so its errors are found here too.
"""

from sluice.errors import BatchError, CardError, ImageError
from sluice.images.batch import BATCH_TYPE, CARD_TYPE, pack, unpack
from sluice.images.decode import FORMATS, decode, decode_whole
from sluice.images.identity import NO_WEIGHTS, check_card, check_weights, digest_of
from sluice.images.preprocessing import VERSION, Preprocessing

__all__ = [
    "BATCH_TYPE",
    "CARD_TYPE",
    "FORMATS",
    "NO_WEIGHTS",
    "VERSION",
    "BatchError",
    "CardError",
    "ImageError",
    "Preprocessing",
    "check_card",
    "check_weights",
    "decode",
    "decode_whole",
    "digest_of",
    "pack",
    "unpack",
]
