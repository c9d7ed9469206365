"""What people see first: the license, the package, the forms, and pages that name files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TYPED = ("sluice", "producer", "consumer")


def test_the_wheel_carries_the_license_and_says_that_it_is_typed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in (*TYPED, "migrations"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as inside:
        names = inside.namelist()
        metadata = inside.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {f"{package}/py.typed" for package in TYPED} < set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert "License-Expression: Apache-2.0\n" in metadata


def test_chart_and_project_are_under_the_license_that_lies_here() -> None:
    chart = yaml.safe_load((ROOT / "charts/sluice/Chart.yaml").read_text())
    assert chart["annotations"]["artifacthub.io/license"] == PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_hooks_run_this_checkouts_own_tools_and_download_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/python -m ")
        assert (ROOT / ".venv/bin" / hook["entry"].split()[2]).exists()


def test_what_is_marked_as_generated_is_there() -> None:
    patterns = re.findall(r"^/(\S+) linguist-generated$", (ROOT / ".gitattributes").read_text(), re.MULTILINE)
    assert patterns
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_each_form_asks_something_and_names_each_answer_once(form: str) -> None:
    read = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{form}.yml").read_text())
    assert {"name", "description", "body"} <= read.keys()
    asked = [field["id"] for field in read["body"] if field["type"] != "markdown"]
    assert asked
    assert len(asked) == len(set(asked))


def test_each_promise_of_security_names_tests_that_there_are() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.+) \| (.+) \|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)
    assert len(rows) > 5
    for promise, tests in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", tests)
        assert named, promise
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_tells_of_the_projects_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    version = PROJECT["project"]["version"]
    assert version in headings
    assert headings[0] in ("Unreleased", version)


@pytest.mark.parametrize("script", ["attack", "bench", "chaos", "demo", "limits", "load", "loop"])
def test_help_installs_nothing(tmp_path: Path, script: str) -> None:
    """A fresh checkout has no .venv yet."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copytree(ROOT / "docker/versitygw", tmp_path / "docker/versitygw")
    (tmp_path / "scripts/setup").write_text("#!/bin/sh\necho it installs\nexit 9\n")
    done = subprocess.run(
        [tmp_path / "scripts" / script, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "it installs" not in done.stdout + done.stderr
    first = (ROOT / "scripts" / script).read_text().splitlines()[1]
    assert done.stdout.startswith(first.removeprefix("# "))
