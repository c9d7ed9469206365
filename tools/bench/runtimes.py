"""The handler alone: images/s of a network by each runtime and precision, in one process, taking turns.

The first row runs the network layer by layer, as torch has it; the last column is the ratio to that row. Pictures are
decoded before: only the normalisation, the network and its probabilities are measured. JSON goes to bench/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from handlers.loaded import LoadedNetwork
from handlers.networks import load
from sluice.domain.running import BF16, FP32, INT8, OPENVINO, TORCH
from sluice.images import decode
from tools.bench import host
from tools.bench.int8 import in_int8
from tools.bench.photos import write_photos
from tools.bench.rounds import Measured, Measurement, part_of_json, settings_of
from tools.cache import cache_folder
from tools.stack import ROOT
from tools.stack.torchserve import archive_of

CPU: Final = torch.device("cpu")
MAX_PIXELS: Final = 100_000_000
WARM_UP: Final = 2
WAYS: Final = ((TORCH, FP32), (OPENVINO, FP32), (OPENVINO, BF16), (OPENVINO, INT8))

Way = Callable[[NDArray[np.uint8]], torch.Tensor]


def ways(folder: Path, card: dict[str, Any]) -> dict[str, Way]:
    """Return what this machine can run an archive's network by, and how."""
    eager = LoadedNetwork(folder, {**card, "runtime": TORCH, "precision": FP32}, CPU)
    network = load(folder, card, CPU)

    def layer_by_layer(pictures: NDArray[np.uint8]) -> torch.Tensor:
        with torch.inference_mode():
            answers: torch.Tensor = network(eager.prepared(pictures)).softmax(1)
        return answers

    found: dict[str, Way] = {"torch, layer by layer": layer_by_layer}
    for runtime, precision in WAYS:
        if precision == INT8 and card.get("precision") != INT8:
            continue
        loaded = LoadedNetwork(folder, {**card, "runtime": runtime, "precision": precision}, CPU)
        if not loaded.runs_as.why:
            found[f"{runtime}, {precision}"] = lambda pictures, loaded=loaded: loaded.probabilities([pictures])  # type: ignore[misc]
    return found


def measure(archive: Path, batch: int, rounds: int) -> dict[str, Any]:
    """Return each way's images/s in each round, and how far its probabilities are from the first way's."""
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(archive) as packed:
        packed.extractall(scratch)
        card = json.loads(packed.read("model.json"))
        every = ways(Path(scratch), card)
        files = write_photos(cache_folder() / "bench" / f"photos-{batch}", batch)
        spec = LoadedNetwork(Path(scratch), {**card, "runtime": TORCH, "precision": FP32}, CPU).preprocessing
        pictures = np.stack([decode(path.read_bytes(), spec, MAX_PIXELS) for path in files])
        first = next(iter(every.values()))(pictures)
        results: dict[str, Any] = {
            name: {"apart": float((way(pictures) - first).abs().max()), "rates": []} for name, way in every.items()
        }
        for number in range(WARM_UP + rounds):
            for name, way in every.items():
                began = time.perf_counter()
                way(pictures)
                if number >= WARM_UP:
                    results[name]["rates"].append(batch / (time.perf_counter() - began))
    return results


def main() -> None:
    """Measure, print a table a model, and write."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench runtimes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["efficientnet-lite0"], help="archives in the cache")
    parser.add_argument("--int8", action="store_true", help="the same recipes also in int8, built if need be: minutes")
    parser.add_argument("--batch", type=int, default=32, help="images a batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="batches of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: one a core")
    parser.add_argument("--output", type=Path, default=ROOT / "bench", help="folder for JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    every: dict[str, dict[str, Any]] = {}
    figures: list[Measured] = []
    for key, value in host.machine().items():
        print(f"{key}: {value}")
    for model in arguments.models:
        results = measure(in_int8(model) if arguments.int8 else archive_of(model), arguments.batch, arguments.rounds)
        print(f"\n{model:<28}{'images/s':>10}{'range':>18}{'ratio':>8}{'scores apart':>14}")
        base = results["torch, layer by layer"]["rates"]
        for name, each in results.items():
            rates = each["rates"]
            ratio = statistics.median(mine / other for mine, other in zip(rates, base, strict=True))
            spread = f"{min(rates):.1f} to {max(rates):.1f}"
            print(f"  {name:<26}{statistics.median(rates):>10.1f}{spread:>18}{ratio:>8.2f}{each['apart']:>14.1g}")
        figures += [Measured(f"{model}: {name}", "images/s", each["rates"]) for name, each in results.items()]
        every[model] = results
    # With one network its first way tells how fast the machine was; several were measured one after the other.
    baseline = figures[0].name if len(every) == 1 else ""
    measured = Measurement("runtimes", host.machine(), settings_of(vars(arguments)), baseline, figures)
    arguments.output.mkdir(exist_ok=True)
    path = arguments.output / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-runtimes.json"
    path.write_text(json.dumps({"machine": host.machine(), "models": every, **part_of_json(measured)}, indent=2) + "\n")
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
