"""I3 for `sluice check --bytes N`: reads done objects again and compares their digest with the prediction's."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Final

from sluice.cli.check_result import ROWS_SHOWN, CheckResult
from sluice.cli.connect import open_database, settings_of_a_person
from sluice.errors import ObjectError
from sluice.ledger.sample import SampledObject, done_objects
from sluice.objects import Source, open_source
from sluice.settings import Settings
from sluice.telemetry import configure

AT_ONCE: Final = 4
"""Objects read at the same time: each may be as large as SLUICE_OBJECT_MAX_BYTES."""


def check_bytes(result: CheckResult, count: int) -> None:
    """Read `count` done objects again. Objects that have changed or were deleted since then can't be compared."""
    settings = settings_of_a_person()
    configure(settings)
    with open_database(settings) as database:
        drawn = database.run(done_objects, count)
    same, other, gone = asyncio.run(_compare(drawn, settings))
    if other:
        rows = ", ".join(str(row) for row in sorted(other)[:ROWS_SHOWN]) + (", ..." if len(other) > ROWS_SHOWN else "")
        result.breaches.append(f"{len(other):,} predictions were made from other bytes than the ETag's: {rows}")
    if same:
        result.verified = True
    result.notes.append(f"{same:,} of {len(drawn):,} objects read again have the same bytes")
    for reason, number in gone.most_common():
        result.notes.append(f"{number:,} could not be compared any more: {reason}")


async def _compare(drawn: Sequence[SampledObject], settings: Settings) -> tuple[int, list[int], Counter[str]]:
    same, other, gone = 0, list[int](), Counter[str]()
    with ExitStack() as stack:
        sources: dict[str, Source] = {}
        for name in sorted({each.source for each in drawn}):
            sources[name] = stack.enter_context(closing(open_source(name, settings)))
        for start in range(0, len(drawn), AT_ONCE):
            some = drawn[start : start + AT_ONCE]
            reads = (_digest(sources[each.source], each, settings) for each in some)
            for each, found in zip(some, await asyncio.gather(*reads), strict=True):
                if isinstance(found, ObjectError):
                    gone[found.reason] += 1
                elif found == each.sha256:
                    same += 1
                else:
                    other.append(each.object_id)
    return same, other, gone


async def _digest(source: Source, each: SampledObject, settings: Settings) -> bytes | ObjectError:
    try:
        data = await source.read(each.key, each.etag, max(settings.object_max_bytes, each.size))
    except ObjectError as error:
        return error
    return hashlib.sha256(data).digest()
