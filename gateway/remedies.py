"""What a picture's sender can do where there is no answer: nothing of it was kept that could be replayed."""

from __future__ import annotations

from typing import Final

from sluice.domain import Reason

OTHERWISE: Final = "Send another picture, or ask whoever runs this Sluice."
SMALLER: Final = "Make the picture smaller, and send it again."
REMEDIES: Final = {
    Reason.EMPTY: "Save the picture again, and look that it isn't empty before you send it.",
    Reason.NOT_AN_IMAGE: "Send a picture: JPEG, PNG, GIF, WebP or another image format.",
    Reason.TRUNCATED: "Get the picture once more from where it came from, and send it again.",
    Reason.CORRUPT: "If a program still opens it, save it there as JPEG or PNG and send that.",
    Reason.TOO_MANY_PIXELS: SMALLER,
    Reason.TOO_LARGE: SMALLER,
    Reason.REJECTED_BY_MODEL: "Send another picture, or tell whoever runs this Sluice what is said here.",
}


def remedy_of(reason: Reason) -> str:
    """Return what its sender can do; `Reason.remedy` is for whoever runs a job."""
    return REMEDIES.get(reason, OTHERWISE)
