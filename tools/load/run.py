"""Load the gateway as people would, compared with TorchServe itself; print a table, write JSON and a plot to bench/.

Each person sends a picture that nobody has sent before, looks at the answer for 1 to 5 seconds, and sends another. For
each number of people the two take turns, on the same photos, so a machine that changes its speed changes it for both.
Before that, one person at a time sends each picture to both, and to the gateway once more, which then knows it.
After the largest number a few people continue immediately: when are they answered as fast as before?
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests

from tools.bench import host
from tools.bench.photos import write_photos
from tools.cache import cache_folder
from tools.load.alone import measure_alone
from tools.load.report import plot, table
from tools.stack import ROOT, Servers, Stack, orderly_end, start_all

BUCKET: Final = "load"
FEW: Final = 10
RECOVERY_SECONDS: Final = 20.0
PHOTOS: Final = 200
PREDICTIONS: Final = "/api/v1/predictions"


def say(text: str) -> None:
    """Print progress to standard error."""
    print(f"load: {text}", file=sys.stderr, flush=True)


def seed() -> str:
    """Return what makes pictures different from all that were ever sent."""
    return str(datetime.now(UTC).timestamp())


def step(url: str, path: str, photos: Path, users: int, seconds: float, *options: str) -> dict[str, Any]:
    """Run one step in its own process."""
    command = [sys.executable, "-m", "tools.load.swarm", "--url", url, "--path", path, "--photos", str(photos)]
    command += ["--users", str(users), "--seconds", str(seconds), "--seed", f"{users}-{seed()}", *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all steps."""
    folder = cache_folder() / "bench" / f"photos-{PHOTOS}"
    write_photos(folder, PHOTOS)
    results: dict[str, Any] = {"machine": host.machine(), "model": arguments.model, "steps": []}
    with Servers(models=[arguments.model], torchserve_workers=None, say=say) as servers:
        servers.start()
        with Stack(servers, "load") as stack:
            gateways = [stack.add_gateway(gateway_anonymous="user", gateway_rate=0) for _ in range(arguments.gateways)]
            start_all(*gateways)
            torchserve, path = servers.torchserve.address, f"/predictions/{arguments.model}"
            say(f"one person at a time, {arguments.pictures} pictures")
            clocks = host.clocks()
            results["alone"] = measure_alone(
                torchserve + path, gateways[0].url + PREDICTIONS, folder, arguments.pictures, seed()
            )
            for users in arguments.users:
                say(f"{users} people, {arguments.seconds:g} s each: TorchServe, then the gateway")
                direct = step(torchserve, path, folder, users, arguments.seconds, "--direct")
                ours = step(gateways[0].url, PREDICTIONS, folder, users, arguments.seconds)
                results["steps"].append({"users": users, "direct": direct, "gateway": ours})
            say(f"after the largest: {FEW} people, {RECOVERY_SECONDS:g} s")
            results["after"] = step(gateways[0].url, PREDICTIONS, folder, FEW, RECOVERY_SECONDS)
            results["stolen"] = host.stolen(clocks)
            results["peak_mib"] = max(_peak_mib(gateway.metrics_url) for gateway in gateways)
    return results


def _peak_mib(metrics_url: str) -> float:
    """Return a process's resident memory, from its metrics."""
    lines = requests.get(metrics_url, timeout=5).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes")) / 2**20


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/load --users 10,50 --seconds 20",
    )
    parser.add_argument(
        "--users",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[10, 25, 50, 100, 200],
        help="people at once, one step each (default: 10,25,50,100,200)",
    )
    parser.add_argument("--pictures", type=int, default=200, help="of one person at a time (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each step (default: %(default)s)")
    parser.add_argument("--model", default="efficientnet-lite0", help="archive in the cache (default: %(default)s)")
    parser.add_argument("--gateways", type=int, default=1, help="gateway processes (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON and plot")
    arguments = parser.parse_args()
    with orderly_end():
        results = measure(arguments)
    arguments.output.mkdir(exist_ok=True)
    stem = arguments.output / datetime.now(UTC).strftime("load-%Y%m%d-%H%M%S")
    stem.with_suffix(".json").write_text(json.dumps(results, indent=2, default=str) + "\n")
    plot(results, stem.with_suffix(".png"))
    print(table(results))
    say(f"written: {stem}.json and .png")


if __name__ == "__main__":
    main()
