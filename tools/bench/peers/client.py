"""The client of peers that are servers: streams photos from S3, asks about each, writes rows in transactions.

The first argument says whose form of request it is. Photos that wait for an answer are enough for all batches.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import obstore
from obstore.store import S3Store

from tools.bench.peers.task import Row, Task

TIMEOUT_SECONDS: Final = 120

Ask = Callable[[aiohttp.ClientSession, str, bytes], Awaitable[tuple[str, float]]]


async def ask_bentoml(session: aiohttp.ClientSession, address: str, photo: bytes) -> tuple[str, float]:
    """Send a form with one file."""
    form = aiohttp.FormData()
    form.add_field("photos", photo, filename="photo.jpg", content_type="image/jpeg")
    async with session.post(f"{address}/label", data=form) as answer:
        answer.raise_for_status()
        found = (await answer.json())[0]
        return found["label"], found["score"]


async def ask_litserve(session: aiohttp.ClientSession, address: str, photo: bytes) -> tuple[str, float]:
    """Send JSON."""
    async with session.post(f"{address}/predict", json={"image_data": base64.b64encode(photo).decode()}) as answer:
        answer.raise_for_status()
        found = await answer.json()
        return found["label"], found["score"]


ASKS: Final[dict[str, Ask]] = {"bentoml": ask_bentoml, "litserve": ask_litserve}


async def classify(task: Task, ask: Ask) -> None:
    """Classify the photos."""
    store = S3Store(
        task.bucket,
        endpoint=task.endpoint,
        region=task.region,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    address = f"http://127.0.0.1:{task.port}"
    keys = iter(task.list_keys())
    rows: asyncio.Queue[Row | None] = asyncio.Queue()

    async def work(session: aiohttp.ClientSession) -> None:
        for key in keys:
            fetched = time.time()
            photo = bytes(await (await obstore.get_async(store, key)).bytes_async())
            rows.put_nowait((f"s3://{task.bucket}/{key}", *await ask(session, address, photo), fetched))

    writing = asyncio.create_task(write(task, rows))
    limits = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=limits, timeout=timeout) as session, asyncio.TaskGroup() as group:
        for _ in range(2 * task.batch * task.processes):
            group.create_task(work(session))
    rows.put_nowait(None)
    await writing


async def write(task: Task, rows: asyncio.Queue[Row | None]) -> None:
    """Insert what has come meanwhile, in one transaction, again and again until None comes."""
    connection = await asyncio.to_thread(task.connect)
    ended = False
    while not ended:
        found = [await rows.get()]
        while not rows.empty():
            found.append(rows.get_nowait())
        ended = found[-1] is None
        if known := [row for row in found if row is not None]:
            await asyncio.to_thread(task.insert, connection, known)
    connection.close()


if __name__ == "__main__":
    asyncio.run(classify(Task.read(), ASKS[sys.argv[1]]))
