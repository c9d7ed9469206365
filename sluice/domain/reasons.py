"""Why an object is in quarantine: the codes in `objects.reason`, each with the sentence a person reads.

Only an object's own fault has a code here. Overload, a dead database or an absent TorchServe have none: those
are waited for (invariant I5).
"""

from __future__ import annotations

from typing import Final

REASONS: Final[dict[str, str]] = {
    "empty": "The object has 0 bytes.",
    "not_an_image": "The bytes are of no image format that can be read (text, HTML, a wrong extension).",
    "truncated": "The image ends too early: the upload was probably cut off.",
    "corrupt": "The image's header is readable, its pixels are not.",
    "too_many_pixels": "The image has more pixels than SLUICE_IMAGE_MAX_PIXELS.",
    "too_large": "The object has more bytes than SLUICE_OBJECT_MAX_BYTES.",
    "not_found": "The object was deleted between the listing and the read.",
    "access_denied": "The bucket can be listed, but this object can't be read with these credentials.",
    "unreadable": "The storage answers with an error for this object each time it is read.",
    "unlistable": "It can't be kept or read as it is listed: its key is too long, or it has no usable ETag or size.",
    "archived": "The object is in an archive storage class: restore it, then replay.",
    "changing": "The object changed each time it was read.",
    "rejected_by_model": "The model fails on this image, alone and each time, and predicts others: see the detail.",
    "killed_consumers": "Three consumers died while they worked on this object alone.",
}
"""Code -> sentence. `sluice quarantine list` prints the sentence; SQL sees the code."""
