"""The dispatcher between its tables and the socket."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from producer.backlog import Backlog
from producer.dispatcher import Dispatcher
from producer.leased import StreamedObject
from producer.leases import GROUP_OBJECTS, LeaseTable
from sluice.settings import read_settings

COUNT = 3 * GROUP_OBJECTS


def test_messages_that_can_not_be_sent_come_back() -> None:
    """A consumer may vanish when several messages are granted to it: none was sent, so no object becomes a suspect."""
    objects = [StreamedObject(number, 1, 1, "s3://photos/", b"key", "etag", 10) for number in range(1, COUNT + 1)]
    backlog, leases = Backlog(), LeaseTable(heartbeat=1.0)
    backlog.set_jobs({1: 0})
    backlog.begin_read()
    backlog.add(objects)
    unused = cast("Any", None)
    dispatcher = Dispatcher(
        read_settings(),
        unused,
        backlog=backlog,
        leases=leases,
        sources=unused,
        failures=unused,
        awake=asyncio.Event(),
        send=lambda _: False,
    )

    async def dispatch() -> None:
        leases.hello(b"gone", "consumer", 0.0)
        leases.extend(b"gone", COUNT, 0)
        while (found := backlog.take(0.0, suspects=False)) is not None:
            leases.offer(found, b"0123456789", 0.0)
        dispatcher.dispatch()

    asyncio.run(dispatch())
    assert not leases.heard(b"gone", 0.0), "its session is over"
    assert backlog.waiting(1) == COUNT
    assert leases.bytes == 0
