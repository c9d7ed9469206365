"""How many files of results are made at once, however many are asked for at the same moment."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

from fastapi.responses import StreamingResponse

from gateway.doors.person import Person, Role
from gateway.exports import MOST, Exports
from sluice.errors import Busy
from sluice.exports import ExportFormat
from sluice.ledger.browse import ResultsFilter, ResultsOrder, ResultsPage


def test_all_that_ask_at_once_get_no_more_places_than_there_are() -> None:
    """Each file takes memory and a connection; a place that isn't used any more is free again, read or not."""
    answers = asyncio.Event()

    async def run(*_: object, **__: object) -> ResultsPage:
        await answers.wait()
        return ResultsPage([], None)

    exports = Exports(cast("Any", SimpleNamespace(run=run)))
    search = cast("Any", SimpleNamespace(order=ResultsOrder.OBJECT, wanted=ResultsFilter()))

    async def ask(count: int) -> tuple[list[StreamingResponse], int]:
        people = [Person(number, "", "", Role.USER) for number in range(1, count + 1)]
        asked = [asyncio.create_task(exports.results(each, 1, search, ExportFormat.CSV)) for each in people]
        await asyncio.sleep(0)
        answers.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        return [each for each in told if isinstance(each, StreamingResponse)], sum(isinstance(e, Busy) for e in told)

    async def test() -> None:
        made, refused = await ask(3 * MOST)
        assert (len(made), refused) == (MOST, 2 * MOST)
        for each in made[1:]:
            assert b"".join([cast("bytes", part) async for part in each.body_iterator]).startswith(b"url,")
        made.clear()
        gc.collect()
        made, refused = await ask(MOST)
        assert (len(made), refused) == (MOST, 0), "whoever went away before the first byte keeps no place"

    asyncio.run(test())
