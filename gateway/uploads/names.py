"""What an uploaded archive may be called, and what its first bytes have to be."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from sluice.domain import is_inside
from sluice.errors import RequestError

NAME_MAX: Final = 100
NAME_BYTES: Final = 200
"""Of UTF-8: the key of each member begins with the archive's, and is to have room."""
HEAD_BYTES: Final = 512
"""So many bytes tell what an archive is."""
ZIP_BEGINS: Final = (b"PK\x03\x04", b"PK\x05\x06")
COMPRESSED: Final = re.compile(r"\.(tgz|tbz2?|txz|tar\.\w+)\Z", re.IGNORECASE)
UPLOAD_ID: Final = "[0-9a-f]{32}"
_KEPT: Final = re.compile(rf"/archives/{UPLOAD_ID}/([^/]+\.(?:zip|tar))(?:!/)?\Z", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff]")
_CHECKSUM: Final = slice(148, 156)


def uploaded_name(source: str) -> str:
    """Return what an uploaded archive was called, from its job's source; nothing of another source."""
    found = _KEPT.search(source)
    return found[1] if found else ""


def archive_name(said: str) -> str:
    """Return an archive's name, without the folders that some browsers put before it; or say what a name must be."""
    name = re.split(r"[/\\]", said)[-1].strip()
    if COMPRESSED.search(name):
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name!r} is compressed as a whole, so nothing could be read within: send a zip, or the tar as it is",
        )
    if not is_inside(name) or len(name) <= len(".zip"):
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name!r} is no archive's name: send a zip or a tar, whose name ends in .zip or .tar",
        )
    if _CONTROL.search(name) or len(name) > NAME_MAX or len(name.encode()) > NAME_BYTES:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"an archive's name may have {NAME_MAX} characters at most and no control characters: rename it",
        )
    return name


def check_head(name: str, head: bytes) -> None:
    """Say so if the first bytes are no archive's, or another archive's than the name says."""
    kind = ".zip" if head.startswith(ZIP_BEGINS) else ".tar" if _is_tar(head) else ""
    if not kind:
        what = f"{name} is no zip or tar" if head else f"{name} has 0 bytes"
        raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{what}: send the archive itself, whole")
    if not name.lower().endswith(kind):
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name} is a {kind[1:]} by its first bytes: rename it so that it ends in {kind}",
        )


def _is_tar(head: bytes) -> bool:
    """Return whether a tar's first header adds up: older tars have no magic."""
    said = head[_CHECKSUM].strip(b" \0")
    if len(head) < HEAD_BYTES or not re.fullmatch(rb"[0-7]{1,7}", said):
        return False
    return int(said, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:HEAD_BYTES])
