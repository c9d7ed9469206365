"""Workflows only run this project's scripts, and pinned actions."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
NO_COMMANDS = {"paths.sh", "uv.txt", "sluice-command"}
"""Files in scripts/ that nobody runs directly."""
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").iterdir() if path.name not in NO_COMMANDS)


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job.get("steps", [])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_step_that_runs_something_runs_one_script(workflow: Path) -> None:
    for step in steps(workflow):
        if "run" in step:
            program, *_ = shlex.split(step["run"])
            assert program.removeprefix("scripts/") in SCRIPTS, step["run"]
            assert not re.search(r"[;&|]|\$\{\{", step["run"]), f"a script's own matter: {step['run']}"


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_each_action_is_pinned_by_its_commit_and_named_by_its_version(workflow: Path) -> None:
    for line in re.findall(r"^.*\buses: (.*)$", workflow.read_text(), re.MULTILINE):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yaml", line), line


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_tells_what_it_is_for_and_does_nothing_else(script: str) -> None:
    """Without docker, a cluster or an account; some print the help of the program that they start."""
    path = ROOT / "scripts" / script
    assert os.access(path, os.X_OK)
    done = subprocess.run([path, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"scripts/{script}" in done.stdout or "usage:" in done.stdout, done.stdout
