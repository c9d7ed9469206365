"""Checks the workflows with actionlint."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.chart.rendered import ROOT, program

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))


def lint(text: str) -> subprocess.CompletedProcess[str]:
    """Run actionlint on one workflow."""
    if not program("actionlint").exists():
        pytest.skip(f"no {program('actionlint')}: run `scripts/cluster build --only actionlint`")
    command = [str(program("actionlint")), "-no-color", "-shellcheck=", "-pyflakes=", "-"]
    return subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_finds_nothing(workflow: Path) -> None:
    done = lint(workflow.read_text())
    assert (done.returncode, done.stdout) == (0, "")


def test_it_would_find_a_job_that_needs_one_that_is_not_there() -> None:
    done = lint((ROOT / ".github/workflows/release.yaml").read_text().replace("needs: check", "needs: checks"))
    assert done.returncode == 1
    assert 'job "publish" needs job "checks" which does not exist' in done.stdout
