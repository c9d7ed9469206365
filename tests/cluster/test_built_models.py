"""The example of a Job that builds a model: applied as it says, its model is served and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.cluster import asked_trainings
from tests.cluster.load import Asking
from tests.cluster.releases import ROOT, Release, wait_until

EXAMPLE: Final = ROOT / "docs" / "examples" / "build-model-job.yaml"
RECIPE: Final = (ROOT / "model_store" / "noop.toml").read_text(encoding="utf-8").replace('"noop"', '"drugs"', 1)
"""Of no network, which would only take longer."""
MODEL: Final = "drugs@1.0"


@pytest.fixture
def built(release: Release, tmp_path: Path) -> Iterator[Release]:
    """Return the shared installation after the example was applied to it."""
    recipe = tmp_path / "drugs.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    job = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    job["metadata"]["namespace"] = release.namespace
    (container,) = job["spec"]["template"]["spec"]["containers"]
    container["image"] = f"{release.images['registry']}/{container['image'].rpartition('/')[2]}"
    for each in container["env"]:
        if "value" in each:
            each["value"] = each["value"].replace(".sluice.svc", f".{release.namespace}.svc")
    kubectl(release, "create", "configmap", "recipe", f"--from-file=recipe.toml={recipe}")
    kubectl(release, "apply", "--filename=-", words_in=json.dumps(job))
    yield release
    kubectl(release, "delete", "job/build-model", "configmap/recipe", "--grace-period=0")


def test_a_model_that_a_job_built_answers(built: Release) -> None:
    """The Job ends well, TorchServe serves what it published, and a person gets an answer of it."""
    wait_until(lambda: status(built).get("succeeded") or status(built).get("failed"), "the Job ends")
    assert status(built).get("succeeded") == 1, kubectl(built, "logs", "job/build-model")
    wait_until(lambda: asked_trainings.serving(built, MODEL) == 1, "TorchServe serves it")
    with Asking(built, MODEL.replace("@", "/")) as asking:
        wait_until(lambda: asking.answers or asking.failures, "an answer")
    assert asking.failures == []
    built.run("sluice", "models", "retire", MODEL)


def status(release: Release) -> dict[str, Any]:
    """Return the status of the example's Job."""
    found: dict[str, Any] = json.loads(kubectl(release, "get", "job/build-model", "--output=json"))["status"]
    return found


def kubectl(release: Release, *words: str, words_in: str = "") -> str:
    """Run kubectl in the release's namespace; return its output."""
    return release.tools.run("kubectl", *words, f"--namespace={release.namespace}", words=words_in).stdout
