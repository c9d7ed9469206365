"""Measure how long a published version takes to become live, on several TorchServes under load."""

from __future__ import annotations

import argparse
import io
import statistics
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import requests
from PIL import Image

from sluice.errors import NotServed
from sluice.ledger import Database, models
from sluice.store.publishing import publish
from tools.stack import Servers, Stack, TorchServe, archive_of
from tools.stack.renamed import renamed
from tools.stack.torchserve import WITH_AGENT
from tools.stack.workers import start_all

PAUSE: Final = 0.1


def main() -> None:
    """Start servers, agents and load, publish, and print what was measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench publishing", description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0", help="what is published (default: %(default)s)")
    parser.add_argument("--servers", type=int, default=2, help="TorchServes (default: %(default)s)")
    parser.add_argument("--times", type=int, default=5, help="versions that are published (default: %(default)s)")
    arguments = parser.parse_args()
    with ExitStack() as exits:
        servers = exits.enter_context(Servers())
        servers.start(servers.database, servers.s3)
        served = [
            TorchServe(servers.folder, servers.leash, [archive_of("noop")], name=f"served-{number}", options=WITH_AGENT)
            for number in range(arguments.servers)
        ]
        for each in served:
            exits.callback(each.stop)
            each.start()
        for each in served:
            each.wait_ready()
        store = f"file://{servers.folder}/published/"
        stack = exits.enter_context(Stack(servers, torchserve=served[0].address, model_store=store))
        start_all(*(stack.add_agent(each) for each in served))
        ended, asked = threading.Event(), Counter[int]()
        load = [threading.Thread(target=ask, args=(each, ended, asked)) for each in served]
        for thread in load:
            thread.start()
        try:
            seconds = [
                published(stack, arguments.model, f"{number}.0", servers.folder) for number in range(arguments.times)
            ]
        finally:
            ended.set()
            for thread in load:
                thread.join()
    told = ", ".join(f"{each:.1f}" for each in seconds)
    print(f"{arguments.model}, {arguments.servers} TorchServes under load: live after {told} s")
    print(f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s")
    print(f"predictions meanwhile: {asked[200]:,} answered, {asked.total() - asked[200]:,} failed")


def published(stack: Stack, model: str, version: str, folder: Path) -> float:
    """Publish and promote a version; return the seconds that took."""
    archive = renamed(folder, "published", version, model)
    with Database(stack.settings) as database:
        begun = time.monotonic()
        publish(archive, stack.settings, database)
        while True:
            try:
                database.run(models.promote, "published", version)
            except NotServed:
                time.sleep(PAUSE)
            else:
                return time.monotonic() - begun


def ask(torchserve: TorchServe, ended: threading.Event, asked: Counter[int]) -> None:
    """Ask for predictions of another model, one after the other; count the answers by status, 0 for none."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 40)).save(picture, "JPEG")
    while not ended.is_set():
        try:
            asked[
                requests.post(f"{torchserve.address}/predictions/noop", picture.getvalue(), timeout=60).status_code
            ] += 1
        except requests.RequestException:
            asked[0] += 1


if __name__ == "__main__":
    main()
