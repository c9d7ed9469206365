"""The README's five minutes, run as written."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.cluster.releases import ROOT, Release, Tools

HEADING = "## Kubernetes in five minutes"
PHOTOS = 12


def test_the_readme_leads_to_rows(tools: Tools, tmp_path: Path) -> None:
    """From an empty cluster to rows, a scaled consumer, and curl's answer that a photo of a cat shows a cat."""
    skimage = pytest.importorskip("skimage")
    section = (ROOT / "README.md").read_text().split(HEADING)[1].split("\n## ")[0]
    here, then = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    # The images are in the cluster already; another cluster's registry isn't sluice.local.
    start = here if "KUBECONFIG" not in os.environ else f"registry={os.environ['SLUICE_TEST_REGISTRY']}\n"
    pictures = tmp_path / "Pictures"
    pictures.mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (300, 200), (20 * number, 90, 40)).save(pictures / f"{number}.jpg")
    photo = tmp_path / "cat.jpg"
    Image.open(f"{skimage.__path__[0]}/data/chelsea.png").save(photo)
    then = then.replace("~/Pictures", str(pictures)).replace("cat.jpg", str(photo))
    tools.clear_namespace("sluice")
    try:
        with Release(tools, "sluice", {}):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p)' EXIT\n{start}\n{then}"],
                cwd=ROOT, env=tools.environment, capture_output=True, text=True, check=False, timeout=900,
            )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    finally:
        tools.delete_namespace("sluice")
    assert done.stdout.count("s3://images/photos/") >= 10
    best = next(iter(json.loads(done.stdout[done.stdout.rindex("{") :])))
    assert "cat" in best.lower() or best in {"tabby", "Egyptian cat", "tiger cat"}
