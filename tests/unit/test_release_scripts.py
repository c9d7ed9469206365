"""What is published and deployed, in which order, and what stops it; docker, helm and others are stand-ins."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import yaml

from tools.cluster.builder import NAMES, version

ROOT: Final = Path(__file__).parents[2]
VERSION: Final = version()
REGISTRY: Final = "ghcr.io/team/sluice"
ARCHIVE: Final = f"sluice-{VERSION}.tgz"

DOCKER: Final = """\
case "$1 $2" in
"image inspect") echo "example.com/old@sha256:0ld"; echo "${5%:*}@sha256:$(basename "${5%:*}")-digest" ;;
esac
"""
HELM: Final = """\
case "$1" in
history) [ -n "$HISTORY" ] && echo "$HISTORY" ;;
get) echo "{\\"applyMethod\\":\\"$APPLIED\\"}" ;;
push) echo "Digest: sha256:chart-digest" >&2 ;;
"$FAILS") exit 1 ;;
esac
"""
GH: Final = """\
[ "$1 $2" != "release download" ] || { [ "$3" = v9.9.9 ] && exit 1; echo "image: {digest: sha256:released}"; }
"""
OTHERS: Final = '[ "$(basename "$0")" != "$FAILS" ]\n'


@dataclass
class StandIns:
    """Programs that record their arguments, and the scripts that call them."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, answers in (("docker", DOCKER), ("helm", HELM), ("gh", GH), ("trivy", OTHERS), ("cosign", OTHERS)):
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            told = f'echo "{name} $*" >>"{self.folder}/asked"\n'
            program.write_text(f"#!/bin/bash\n{told}{answers}")
            program.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of scripts/, which finds only these programs and the system's."""
        given = {"HISTORY": "", "FAILS": "", "APPLIED": "", "SLUICE_CACHE": str(self.folder), **environment}
        whole = {**os.environ, **given, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        command = [str(ROOT / "scripts" / script), *arguments]
        return subprocess.run(command, env=whole, capture_output=True, text=True, check=False, timeout=60)

    @property
    def asked(self) -> list[str]:
        """Return the recorded commands, in order."""
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    """Return the stand-ins."""
    return StandIns(tmp_path)


def test_images_are_built_scanned_pushed_and_signed_each_once(stand_ins: StandIns) -> None:
    digests = stand_ins.folder / "images.yaml"
    done = stand_ins.run("images", REGISTRY, "--scan", "--push", "--sign", "--digests", str(digests))
    assert done.returncode == 0, done.stderr
    steps = [words.split()[:2] for words in stand_ins.asked if not words.startswith(("docker info", "docker image"))]
    count = len(NAMES)
    built, scanned, pushed = steps[:count], steps[count : 2 * count], steps[2 * count :]
    assert built == [["docker", "build"]] * count
    assert scanned == [["trivy", "image"]] * count
    assert pushed == [["docker", "push"], ["cosign", "sign"]] * count
    for name in NAMES.values():
        assert f"cosign sign --yes {REGISTRY}/{name}@sha256:{name}-digest" in stand_ins.asked


def test_the_digests_are_values_that_the_chart_takes(stand_ins: StandIns) -> None:
    digests = stand_ins.folder / "images.yaml"
    stand_ins.run("images", REGISTRY, "--push", "--digests", str(digests))
    assert yaml.safe_load(digests.read_text()) == {
        "image": {"registry": REGISTRY, "digest": "sha256:sluice-digest"},
        "torchserve": {"image": {"digest": "sha256:sluice-torchserve-digest"}},
        "mysql": {"image": {"digest": "sha256:sluice-mariadb-digest"}},
        "s3": {"image": {"digest": "sha256:sluice-versitygw-digest"}},
    }


def test_what_the_scan_finds_is_not_pushed(stand_ins: StandIns) -> None:
    assert stand_ins.run("images", REGISTRY, "--scan", "--push", FAILS="trivy").returncode == 1
    assert not [words for words in stand_ins.asked if words.startswith("docker push")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say where the images belong"),
        ([REGISTRY, "--sign"], "--sign and --digests need --push"),
        ([REGISTRY, "--fast"], "what is --fast?"),
    ],
)
def test_images_says_what_is_wrong_with_its_arguments(stand_ins: StandIns, arguments: list[str], said: str) -> None:
    done = stand_ins.run("images", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert stand_ins.asked == []


def test_a_release_is_images_chart_and_notes(stand_ins: StandIns) -> None:
    done = stand_ins.run("release", f"v{VERSION}", "ghcr.io/Team/Sluice")
    assert done.returncode == 0, done.stderr
    text = "\n".join(stand_ins.asked)
    published = [
        "cosign sign --yes ghcr.io/team/sluice/sluice-versitygw@sha256:sluice-versitygw-digest",
        "helm package charts/sluice --destination ",
        f"{ARCHIVE} oci://{REGISTRY}/charts",
        f"cosign sign --yes {REGISTRY}/charts/sluice@sha256:chart-digest",
        f"gh release create v{VERSION} --verify-tag --title Sluice {VERSION} --notes The first version.",
        "/images.yaml ",
    ]
    places = [text.find(words) for words in published]
    assert -1 not in places, text
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("9.9.9", 'pyproject.toml doesn\'t say version = "9.9.9"'), ("", "doesn't say version")],
)
def test_a_version_that_this_checkout_is_not_is_not_released(stand_ins: StandIns, wanted: str, said: str) -> None:
    done = stand_ins.run("release", wanted, REGISTRY)
    assert done.returncode == 1
    assert said in done.stderr
    assert stand_ins.asked == []


def test_notes_are_the_section_of_their_version_and_no_more(stand_ins: StandIns) -> None:
    told = stand_ins.run("release-notes", VERSION).stdout
    text = (ROOT / "CHANGELOG.md").read_text()
    assert told.strip() in text
    assert "## [" not in told
    assert told.startswith("The first version.\n\n### Added\n")


def test_a_version_without_notes_is_named(stand_ins: StandIns) -> None:
    done = stand_ins.run("release-notes", "9.9.9")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no text under ## [9.9.9]" in done.stderr


IN_USE: Final = '[{"revision": 6, "status": "superseded"}, {"revision": 7, "status": "deployed"}]'


def test_a_deployment_is_upgraded_and_then_tried(stand_ins: StandIns) -> None:
    values = stand_ins.folder / "mine.yaml"
    values.write_text("producer: {shards: 2}\n")
    done = stand_ins.run("deploy", "--images", str(values), HISTORY=IN_USE)
    assert done.returncode == 0, done.stderr
    history, metadata, upgrade, test = stand_ins.asked
    assert history.startswith("helm history sluice --namespace sluice")
    assert metadata == "helm get metadata sluice --namespace sluice --output json"
    assert upgrade == (
        f"helm upgrade sluice {ROOT}/charts/sluice --install --atomic --namespace sluice --create-namespace "
        f"--timeout 15m --values {values}"
    )
    assert test == "helm test sluice --namespace sluice --logs --timeout 15m"


def test_an_upgrade_that_fails_is_left_to_helm_to_take_back(stand_ins: StandIns) -> None:
    done = stand_ins.run("deploy", HISTORY=IN_USE, FAILS="upgrade")
    assert done.returncode == 1
    assert [words.split()[1] for words in stand_ins.asked] == ["history", "get", "upgrade"]


def test_what_fails_its_test_is_rolled_back_to_what_was_in_use(stand_ins: StandIns) -> None:
    done = stand_ins.run("deploy", "--release", "a", "--namespace", "b", HISTORY=IN_USE, FAILS="test")
    assert done.returncode == 1
    assert stand_ins.asked[-1] == "helm rollback a --namespace b 7 --wait --timeout 15m"
    assert "revision 7 is back" in done.stderr


def test_what_somebody_scaled_is_set_by_the_values_again(stand_ins: StandIns) -> None:
    stand_ins.run("deploy", HISTORY=IN_USE, FAILS="test", APPLIED="ssa")
    upgrade, _, rollback = stand_ins.asked[-3:]
    assert upgrade.endswith("--timeout 15m --force-conflicts")
    assert rollback.endswith("7 --wait --timeout 15m --force-conflicts")


def test_a_first_installation_that_fails_its_test_has_nothing_to_go_back_to(stand_ins: StandIns) -> None:
    done = stand_ins.run("deploy", FAILS="test")
    assert done.returncode == 1
    assert "nothing to go back to" in done.stderr
    assert not [words for words in stand_ins.asked if "rollback" in words]


def test_secrets_of_a_workflow_reach_helm_as_files_that_vanish(stand_ins: StandIns) -> None:
    helm = stand_ins.folder / "bin/helm"
    seen = f'[ "$1" != upgrade ] || cat "$KUBECONFIG" "${{@: -3:1}}" "${{@: -1}}" >"{stand_ins.folder}/seen"\n'
    helm.write_text(helm.read_text().replace('case "$1"', f'{seen}case "$1"'))
    done = stand_ins.run("deploy", "--version", "v0.1.0", KUBECONFIG_TEXT="the cluster", VALUES_TEXT="a: 1")
    assert done.returncode == 0, done.stderr
    assert (stand_ins.folder / "seen").read_text() == "the cluster\na: 1\nimage: {digest: sha256:released}\n"
    (file,) = {word for words in stand_ins.asked for word in words.split() if word.endswith("/images.yaml")}
    assert not Path(file).exists()


@pytest.mark.parametrize(
    "arguments", [["--version", "9.9.9"], ["--images", "/nowhere"], ["--quickly", "yes"], ["--values"]]
)
def test_nothing_is_deployed_where_something_is_missing(stand_ins: StandIns, arguments: list[str]) -> None:
    assert stand_ins.run("deploy", *arguments).returncode != 0
    assert not [words for words in stand_ins.asked if words.startswith("helm")]
