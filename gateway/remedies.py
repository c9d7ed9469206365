"""What people can do by way of the gateway, where no answer is or a command line's remedy was given.

Nothing of a picture was kept that could be replayed.
"""

from __future__ import annotations

from typing import Final

from sluice.domain import Reason

OTHERWISE: Final = "Send another picture, or ask whoever runs this Sluice."
SMALLER: Final = "Make the picture smaller, and send it again."
BY_HTTP: Final = {
    "see `sluice models list`, then `sluice models promote`": "/api/v1/models lists what is, admins make one live",
    "`sluice jobs list` and `sluice models list` show": "/api/v1/jobs and /api/v1/models show",
    "`sluice models list` shows": "/api/v1/models lists",
    "with --model or in the job's `model`": "as `model`",
}
"""What the ledger's errors tell people at a command line to do, and what there is instead of it here."""
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


def as_by_http(said: str) -> str:
    """Return an error's words with what a command would show named by its address."""
    for command, address in BY_HTTP.items():
        said = said.replace(command, address)
    return said
