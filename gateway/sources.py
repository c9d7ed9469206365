"""Which sources people may submit jobs on: a bucket that this process can read need not be everybody's.

S3 takes a prefix letter by letter: `s3://photos/2024` has the keys of `2024-private/` too. So prefixes are compared by
whole parts, and parts that some storage or proxy may read as another place (`..`, `%2e`, a backslash) are refused.
"""

from __future__ import annotations

import re
import unicodedata
from http import HTTPStatus
from typing import Final

from gateway.doors.person import Person
from sluice.domain import INSIDE, check_source, go_inside
from sluice.errors import RequestError
from sluice.settings import Settings

S3: Final = "s3://"
ESCAPED: Final = re.compile(r"%(25|2e|2f|5c|0)", re.IGNORECASE)
"""What becomes a dot, a slash, a backslash, a control character or a percent sign when somebody decodes it."""


def permitted(source: str, person: Person, settings: Settings, *, archives: bool = False) -> str:
    """Return the source as it is kept, or say why this person may submit no job on it."""
    checked = check_source(source)
    if not checked.startswith(S3):
        raise _refused("the gateway reads s3:// sources only: folders are for the command line (`sluice submit`)")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in checked):
        raise _refused("the source has control characters or invisible ones: write it without")
    if not person.is_admin:
        checked = _allowed(checked, settings)
    return go_inside(checked) if archives else checked


def _allowed(source: str, settings: Settings) -> str:
    """Return a user's source, or refuse it."""
    bucket, _, prefix = source.removeprefix(S3).partition("/")
    walked = prefix.removesuffix(INSIDE)
    parts = walked.removesuffix("/").split("/")
    if "\\" in prefix or ESCAPED.search(prefix) or any(part in (".", "..") for part in parts):
        raise _refused("the source has '.' or '..' as a part, a backslash, or an encoded character: write it plainly")
    if walked and "" in parts:
        raise _refused("the source has an empty part ('//'): write it plainly")
    if settings.gateway_store and _overlap(f"{bucket}/{walked}", settings.gateway_store.removeprefix(S3)):
        raise _refused("pictures that other people dropped are kept there: name a prefix beside SLUICE_GATEWAY_STORE")
    for allowed in settings.gateway_sources:
        whole = allowed if allowed.endswith("/") else f"{allowed}/"
        if f"{source}/" == whole:
            return source if _is_archive(source) else whole
        if source.startswith(whole):
            return source
    shown = ", ".join(settings.gateway_sources) or "none"
    raise _refused(f"users may submit sources below these: {shown}; ask an admin for another (SLUICE_GATEWAY_SOURCES)")


def _is_archive(source: str) -> bool:
    """Return whether a source is one archive, whose name a slash at its end would change."""
    return go_inside(source) == source


def _overlap(source: str, store: str) -> bool:
    """Return whether a listing of one would give objects of the other; both without the scheme."""
    place = store if store.endswith("/") else f"{store}/"
    return place.startswith(source) or source.startswith(place)


def _refused(why: str) -> RequestError:
    return RequestError(HTTPStatus.FORBIDDEN, why)
