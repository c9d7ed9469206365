#!/usr/bin/env python3
"""Run TorchServe on model archives in a container: writes its configuration, and the requests for its probes."""

from __future__ import annotations

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path
from string import Template
from typing import Any, Final

import numpy as np

from sluice import capacity
from sluice.images import Preprocessing, pack

TEMPLATE: Final = Path("/opt/sluice/model_store/config.properties")
WORK: Final = Path("/tmp/torchserve")  # noqa: S108 - the one place of a container that can be written to
ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - a pod's network, and only the inference port's Service leads there


def main() -> None:
    """Prepare everything, then exec TorchServe."""
    arguments = parse(sys.argv[1:])
    archives = find(arguments.store, arguments.models)
    arrangement = arrange(arguments, archives)
    try:
        WORK.mkdir(parents=True, exist_ok=True)
        if arguments.agent:
            arguments.store = share(archives)
        for part in ("logs", "tmp"):
            (WORK / part).mkdir(exist_ok=True)
        configuration = WORK / "config.properties"
        configuration.write_text(configure(arguments, archives, arrangement))
        (WORK / capacity.NAME).write_text(arrangement.to_json())
        prepare_probes(archives, arguments.port)
    except OSError as error:
        sys.exit(f"sluice-serve: {WORK} can't be written ({error.strerror}): a full disk is the usual cause, make room")
    print(
        f"sluice-serve: {', '.join(each.name for each in archives)}; for each {arrangement.workers} workers with "
        f"{arrangement.threads} threads, on {arguments.cores or capacity.cores()} cores",
        flush=True,
    )
    command = ["torchserve", "--start", "--foreground", "--ncs", "--ts-config", str(configuration)]
    os.execvpe(command[0], [*command, "--model-store", str(arguments.store)], environment(arrangement.threads))  # noqa: S606 - nothing to quote


def share(archives: list[Path]) -> Path:
    """Return a store that the agent beside can put more archives into, with links to these."""
    store = WORK / "store"
    store.mkdir(exist_ok=True)
    for archive in archives:
        (store / archive.name).unlink(missing_ok=True)
        (store / archive.name).symlink_to(archive)
    return store


def environment(threads: int) -> dict[str, str]:
    """Return the environment of TorchServe and its workers.

    Without PYTHONPATH: TorchServe puts it before an archive's folder, so workers would import this image's code instead
    of the code that the archive includes, which may be older or newer.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {
        "TEMP": str(WORK / "tmp"),
        "TMPDIR": str(WORK / "tmp"),
        "LOG_LOCATION": str(WORK / "logs"),
        "METRICS_LOCATION": str(WORK / "logs"),
        "OMP_NUM_THREADS": str(threads),
        # Threads that spin while they wait take CPU time from those that compute.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def parse(words: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="sluice-serve", description=__doc__)
    parser.add_argument("--models", default="", help="archives of the store, comma-separated (default: all)")
    parser.add_argument("--store", type=Path, default=Path("/models"), help="folder of archives (default: %(default)s)")
    parser.add_argument("--agent", action="store_true", help="an agent beside it adds and removes models as it runs")
    parser.add_argument("--cores", type=int, help="cores to use (default: the CPU limit, or all)")
    parser.add_argument("--workers", type=int, help="processes a model (default: one a core that memory is enough for)")
    parser.add_argument("--threads", type=int, help="threads a process computes with (default: cores / processes)")
    parser.add_argument("--port", type=int, default=8080, help="inference port (default: %(default)s)")
    parser.add_argument("--open-metrics", action="store_true", help="metrics on the pod's network, port 8082")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a line of TorchServe's configuration",
    )
    return parser.parse_args(words)


def find(store: Path, wanted: str) -> list[Path]:
    """Return the archives, or exit with a list of those that exist."""
    there = sorted(store.glob("*.mar"))
    names = [name.strip() for name in wanted.split(",") if name.strip()] or [path.name for path in there]
    missing = [name for name in names if store / name not in there]
    if missing or not names:
        sys.exit(
            f"sluice-serve: no archive {', '.join(missing) or 'at all'} in {store}, which has "
            f"{', '.join(path.name for path in there) or 'none'}: name one of those, or put the archive there"
        )
    return [store / name for name in names]


def arrange(arguments: argparse.Namespace, archives: list[Path]) -> capacity.Arrangement:
    """Return how many processes a model has, and how many threads each of them."""
    return capacity.arrange(
        arguments.cores or capacity.cores(),
        capacity.memory_bytes(),
        [path.stat().st_size for path in archives],
        workers=arguments.workers,
        threads=arguments.threads,
        has_gpu=capacity.has_gpu(),
        has_agent=arguments.agent,
    )


def configure(arguments: argparse.Namespace, archives: list[Path], arrangement: capacity.Arrangement) -> str:
    """Return the configuration from the template; --set replaces lines of it."""
    options = dict(each.split("=", 1) for each in arguments.set)
    if arguments.agent:
        options["enable_model_api"] = "true"
    if arguments.open_metrics:
        options["metrics_address"] = f"http://{ANYWHERE}:8082"
    lines = Template(TEMPLATE.read_text()).substitute(
        inference_host=ANYWHERE,
        inference_port=arguments.port,
        management_port=8081,
        metrics_port=8082,
        grpc_inference_port=7070,
        grpc_management_port=7071,
        model_store=arguments.store,
        models=",".join(path.name for path in archives),
        workers=arrangement.workers,
        queue=capacity.queue_size(arrangement.workers),
    )
    kept = [line for line in lines.splitlines() if line.partition("=")[0] not in options]
    return "\n".join([*kept, *(f"{name}={value}" for name, value in options.items())]) + "\n"


def prepare_probes(archives: list[Path], port: int) -> None:
    """Write each model's path, and a request for one blank image, for the probes."""
    models = []
    for archive in archives:
        card = read_card(archive)
        entry = {"archive": str(archive), "path": "", "batch": ""}
        if card:
            side = Preprocessing.from_dict(card["preprocessing"]).crop
            batch = WORK / f"{archive.stem}.batch"
            batch.write_bytes(pack([np.zeros((side, side, 3), np.uint8)]))
            entry.update(path=f"{card['name']}/{card['version']}", batch=str(batch))
        models.append(entry)
    (WORK / "probes.json").write_text(json.dumps({"port": port, "models": models}))


def read_card(archive: Path) -> dict[str, Any]:
    """Read an archive's card; return nothing if it can't be read, which the probes then report."""
    try:
        with zipfile.ZipFile(archive) as opened:
            card: dict[str, Any] = json.loads(opened.read("model.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        print(f"sluice-serve: {archive} wasn't made by scripts/build-model: {error!r}", flush=True)
        return {}
    return card


if __name__ == "__main__":
    main()
