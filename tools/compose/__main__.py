"""`scripts/compose-test`: tests everything that compose.yaml promises, on an engine without an image registry."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

import requests
import yaml

from tools.cluster import base
from tools.cluster.builder import CERTIFICATES
from tools.cluster.errors import ClusterError
from tools.cluster.folders import ClusterFolders
from tools.cluster.lock import locked
from tools.cluster.pieces import PIECES, BuildCache
from tools.compose.engine import Engine
from tools.photos import photos
from tools.stack import ROOT, free_port, orderly_end

BUILT: Final = ("secrets", "database-image", "buckets", "torchserve")
"""The services that build an image."""
PHOTOS: Final = 12
LENT_GO: Final = "sluice.local/go:lent"
ANSWER_SECONDS: Final = 120.0
SCALED: Final = 3


class ComposeTrial:
    """compose.yaml on an engine, step by step; each step prints its result."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._begun = time.monotonic()
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        override = folder / "no-registry.yaml"
        override.write_text(yaml.safe_dump(_without_registry()))
        self._files = ["--file", str(ROOT / "compose.yaml"), "--file", str(override), "--project-directory", str(ROOT)]

    def say(self, text: str) -> None:
        """Print a finished step."""
        print(f"[{time.monotonic() - self._begun:5.0f} s] {text}", flush=True)

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`, like a person in the checkout."""
        variables = {
            "GATEWAY_PORT": str(self._port),
            "PYTHON_IMAGE": base.BASE,
            "DEBIAN_IMAGE": base.BASE,
            "GO_IMAGE": LENT_GO,
        }
        return self._engine.docker("compose", *self._files, *arguments, variables=variables).stdout

    def run(self) -> None:
        """Run all steps."""
        self.compose("up", "--build", "--detach")
        self.say("up: images are built, tables made, the model is registered")
        self._page_answers()
        self._password_is_told_once()
        self._pictures_are_classified()
        self._photos_become_rows("photos", PHOTOS)
        self._pictures_become_a_model()
        self.compose("up", "--detach", "--scale", f"consumer={SCALED}")
        found = [row for row in self._containers() if row["Service"] == "consumer" and row["State"] == "running"]
        _check(len(found) == SCALED, f"{len(found)} consumers run, not {SCALED}")
        self.say(f"{SCALED} consumers run")
        self._photos_become_rows("more", PHOTOS)
        self.compose("down")
        self.compose("up", "--detach")
        count = "SELECT COUNT(*) FROM results WHERE url LIKE 's3://images/photos/%'"
        told = self.compose("exec", "-T", "producer", "sluice", "sql", count)
        _check(str(PHOTOS) in told.split(), f"after a restart there are not {PHOTOS} rows: {told}")
        self._page_answers()
        self.say("down and up again: the rows are there")
        self.compose("exec", "-T", "producer", "sluice", "check")
        self.say("sluice check finds nothing")

    def end(self) -> None:
        """Remove everything, including volumes."""
        self.compose("down", "--volumes", "--remove-orphans")
        self.say("down: nothing but built images is left")

    def log_tails(self) -> str:
        """Return the end of all services' logs."""
        return self.compose("ps", "--all") + self.compose("logs", "--tail", "15")

    def _containers(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def _page_answers(self) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                answer = requests.get(self.url, timeout=10)
            except requests.RequestException as error:
                _check(time.monotonic() < deadline, f"{self.url} doesn't answer: {error}")
                time.sleep(0.5)
                continue
            break
        _check(answer.ok, f"{self.url} answers {answer.status_code}")
        self.say(f"{self.url} answers")

    def _password_is_told_once(self) -> None:
        told = self.compose("logs", "--no-log-prefix", "secrets").split()[-1]
        _check(len(told) >= 20, "the admin's password isn't in the log of `secrets`")  # noqa: PLR2004 - its length
        _check(told not in self.compose("config"), "the password is in the configuration")
        shown = self._engine.docker("inspect", *(row["ID"] for row in self._containers())).stdout
        _check(told not in shown, "the password is among what `docker inspect` shows")
        with requests.Session() as browser:
            form = browser.get(f"{self.url}/login", timeout=30).text
            sent = {"csrf": form.partition('name="csrf" value="')[2].partition('"')[0], "next": "/account"}
            sent |= {"email": "admin@localhost", "password": told}
            answer = browser.post(f"{self.url}/login", data=sent, timeout=30, allow_redirects=False)
        _check(answer.status_code == HTTPStatus.SEE_OTHER, f"the admin can't sign in: {answer.status_code}")
        self.say("the admin's password is in the log of `secrets`, in no configuration, and lets the admin in")

    def _pictures_are_classified(self) -> None:
        name, data = next(iter(photos(1)))
        answer = requests.post(f"{self.url}/api/v1/predictions", files={"file": (name, data)}, timeout=60)
        _check(answer.ok and bool(answer.json()["predictions"][0]["label"]), f"no prediction: {answer.text}")
        self.say(f"a dropped picture is {answer.json()['predictions'][0]['label']}")

    def _pictures_become_a_model(self) -> None:
        folder = self._folder / "labelled"
        for number, (_, data) in enumerate(photos(PHOTOS)):
            place = folder / ("left", "right")[number % 2]
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            (place / f"{number}.jpg").write_bytes(data)
        self._upload(folder, "s3://images/labelled/")
        self.compose("exec", "-T", "producer", "sluice", "train", "s3://images/labelled/", "--name", "own", "--wait")
        source = ("submit", "s3://images/labelled/", "--model", "own@1.0", "--wait")
        said = self.compose("exec", "-T", "producer", "sluice", *source)
        _check(f"{PHOTOS} done" in said, f"the trained model answered not all of {PHOTOS} photos: {said}")
        self.say("labelled photos became a model, which TorchServe serves")

    def _upload(self, folder: Path, target: str) -> None:
        mounted = ["--volume", f"{folder}:/photos:ro"]
        self.compose("run", "--rm", "-T", "--no-deps", *mounted, "producer", "sluice", "upload", "/photos", target)

    def _photos_become_rows(self, prefix: str, count: int) -> None:
        folder = self._folder / prefix
        folder.mkdir(mode=0o755)
        for number, (_, data) in enumerate(photos(count)):
            (folder / f"{prefix}-{number}.jpg").write_bytes(data)
        target = f"s3://images/{prefix}/"
        self._upload(folder, target)
        said = self.compose("exec", "-T", "producer", "sluice", "submit", target, "--wait")
        _check(f"{count} done" in said, f"not all of {count} photos are done: {said}")
        self.say(f"{count} photos of {target} are rows")


def _without_registry() -> dict[str, object]:
    """Return settings for builds without a registry: the host's network and certificates."""
    build: dict[str, object] = {"network": "host"}
    if CERTIFICATES.exists():
        build["secrets"] = ["certificates"]
    services = {name: {"build": build} for name in BUILT}
    return {"services": services, "secrets": {"certificates": {"file": str(CERTIFICATES)}}}


def _load_bases(engine: Engine, cache: BuildCache, folders: ClusterFolders) -> None:
    """Load the base image of all others, and an image whose `go` returns the S3 server that is already built."""
    archive = folders.cache / f"cluster/base-{base.RELEASE}.tar"
    base.make(archive)
    engine.docker("load", "--input", str(archive))
    built = folders.cache / f"versitygw-{PIECES['versitygw'].version}"
    if not built.exists():
        cache.build(["versitygw"])
        built = cache.program("versitygw")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "versitygw").write_bytes(built.read_bytes())
        (folder / "go").write_text('#!/bin/sh\nmkdir -p "$GOBIN" && cp /lent/versitygw "$GOBIN/"\n')
        lines = [f"FROM {base.BASE}", "COPY --chmod=755 versitygw /lent/", "COPY --chmod=755 go /usr/local/bin/"]
        (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
        engine.docker("build", "--tag", LENT_GO, str(folder))


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - read in one place
    if not holds:
        raise ClusterError(otherwise)


def main() -> int:
    """Run the test; report the first error."""
    parser = argparse.ArgumentParser(prog="scripts/compose-test", description=__doc__)
    parser.parse_args()
    folders = ClusterFolders.find()
    cache = BuildCache(folders.cache)
    try:
        with locked(cache.lock):
            cache.build(["compose"])
            cache.unpack_debian(("containerd", "runc", "docker.io"))
        with (
            orderly_end(),
            tempfile.TemporaryDirectory(prefix="sluice-compose-") as scratch,
            Engine(cache, folders.cache / "docker") as engine,
        ):
            Path(scratch).chmod(0o755)
            _load_bases(engine, cache, folders)
            trial = ComposeTrial(engine, Path(scratch))
            try:
                trial.run()
            except ClusterError:
                print(trial.log_tails(), file=sys.stderr)
                raise
            finally:
                trial.end()
    except (ClusterError, subprocess.SubprocessError) as error:
        print(f"scripts/compose-test: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
