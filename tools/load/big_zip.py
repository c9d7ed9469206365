"""Upload a large zip as one person would; measure the gateway's memory, and the time until rows appear.

A zip of photos is streamed to a gateway; a producer and a consumer are running, with a model that computes nothing.
Prints the seconds of the upload, the gateway's peak memory since its start, and the seconds from the end of the upload
to the first and to the last row.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import requests

from tools.bench import host
from tools.bench.photos import write_photos
from tools.bench.pipeline import peak_mib
from tools.cache import cache_folder
from tools.load.pictures import distinct
from tools.stack import Servers, Stack, orderly_end

DIFFERENT: Final = 200
TIMEOUT: Final = 600.0
LIMIT_SECONDS: Final = 1800.0
POLL_SECONDS: Final = 0.05
MIB: Final = 2**20
HEADERS: Final = 200
"""A member's bytes in a zip besides its data, at most."""


def write_zip(path: Path, mib: float) -> int:
    """Write a zip of nearly that size whose members all differ; return their number."""
    photos = [file.read_bytes() for file in write_photos(path.parent / f"photos-{DIFFERENT}", DIFFERENT)]
    number = written = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        while True:
            data = distinct(photos[number % DIFFERENT], str(number))
            written += len(data) + HEADERS
            if written > mib * MIB:
                return number
            archive.writestr(f"{number % DIFFERENT:03}/{number:06}.jpg", data)
            number += 1


def wait_until(done: Callable[[dict[str, Any]], bool], url: str) -> float:
    """Return the time when an upload's state satisfies `done`."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while time.monotonic() < deadline:
        answer = requests.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        if done(answer.json()):
            return time.monotonic()
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"load: after {LIMIT_SECONDS:g} s the job isn't done: {answer.text}")


def measure(path: Path, members: int) -> None:
    """Upload, wait, print."""
    with Servers(models=["noop"]) as servers:
        servers.start()
        with Stack(servers, "zip") as stack:
            stack.start_workers(consumers=1)
            gateway = stack.start_gateway(gateway_anonymous="user", gateway_rate=0)
            url = f"{gateway.url}/api/v1/uploads/photos.zip"
            began = time.monotonic()
            with path.open("rb") as body:
                answer = requests.put(url, data=body, timeout=TIMEOUT)
            ended = time.monotonic()
            answer.raise_for_status()
            state = f"{gateway.url}/api/v1/uploads/{answer.json()['id']}"
            first = wait_until(lambda found: found["done"] > 0, state)
            last = wait_until(lambda found: found["state"] == "done", state)
            found = requests.get(state, timeout=TIMEOUT).json()
            if (found["done"], found["quarantined"]) != (members, 0):
                raise SystemExit(f"load: {members} members, but the job says {found}")
            peak = peak_mib(gateway.pid)
    size = path.stat().st_size / MIB
    print(f"the zip: {size:.0f} MiB, {members:,} members")
    print(f"upload: {ended - began:.1f} s, {size / (ended - began):.0f} MiB/s")
    print(f"gateway's memory at most: {peak:.0f} MiB")
    print(f"from the upload's end to the first row: {first - ended:.1f} s, to the last: {last - ended:.1f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="scripts/load zip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/load zip --mib 500",
    )
    parser.add_argument("--mib", type=float, default=500.0, help="size of the zip (default: %(default)s)")
    arguments = parser.parse_args()
    for key, value in host.machine().items():
        print(f"{key}: {value}")
    path = cache_folder() / "bench" / "large.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        members = write_zip(path, arguments.mib)
        with orderly_end():
            measure(path, members)
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
