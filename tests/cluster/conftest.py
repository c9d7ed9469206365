"""A real Kubernetes, and one installation of the chart that most tests share.

KUBECONFIG names the cluster, and SLUICE_TEST_REGISTRY the registry of its images (tags: the project's version, and
`next`). Without KUBECONFIG the throwaway of `scripts/cluster` is started, and ended if it wasn't up before.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.load import PHOTOS
from tests.cluster.releases import Release, Tools
from tests.cluster.values import NEXT, SHARED
from tools.cluster import keda as addon
from tools.cluster.builder import Builder, version
from tools.cluster.cluster import Cluster
from tools.cluster.folders import REGISTRY, ClusterFolders
from tools.stack import archive_of


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that building the images takes on a new machine."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(2400))


@pytest.fixture(scope="package")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    """Return the cluster's clients; the images are loaded."""
    if kubeconfig := os.environ.get("KUBECONFIG"):
        yield Tools(kubeconfig)
        return
    cluster = Cluster(ClusterFolders.find())
    was_up = cluster.is_up
    cluster.build("buildkit")
    cluster.up()
    try:
        build_images(cluster, tmp_path_factory.mktemp("models"))
        yield Tools(str(cluster.place.kubeconfig), str(cluster.cache.programs))
    finally:
        if not was_up:
            cluster.down()


def build_images(cluster: Cluster, folder: Path) -> None:
    """Build this checkout's images, and those for an upgrade: the same code, and one more version of a model."""
    builder = Builder(cluster)
    builder.build(("sluice", "torchserve", "mariadb", "versitygw"), version())
    builder.build(("sluice",), NEXT)
    models = folder / "models"
    models.mkdir()
    noop = archive_of("noop")
    shutil.copy(noop, models)
    write_next_version(noop, models / "noop-2.mar")
    builder.build(("torchserve",), NEXT, stages={"models": folder})


def write_next_version(archive: Path, path: Path) -> None:
    """Write an archive again as version 2.0."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename in {"MAR-INF/MANIFEST.json", "model.json"}:
                assert b'ersion": "1.0"' in content
                content = content.replace(b'ersion": "1.0"', b'ersion": "2.0"')
            new.writestr(entry, content)


@pytest.fixture(scope="package")
def keda(tools: Tools) -> None:
    """Provide KEDA, if the cluster has it or its programs were built."""
    if os.environ.get("KUBECONFIG"):
        if "scaledobjects.keda.sh" not in tools.run("kubectl", "get", "crd", "--output=name").stdout:
            pytest.skip("the cluster has no KEDA")
        return
    cluster = Cluster(ClusterFolders.find())
    if not addon.is_built(cluster):
        pytest.skip("KEDA isn't built: `scripts/cluster build keda` takes ten minutes")
    addon.install(cluster)


@pytest.fixture(scope="package")
def images() -> dict[str, object]:
    """Return the values that select the images."""
    return {"registry": os.environ.get("SLUICE_TEST_REGISTRY", REGISTRY), "tag": version()}


@pytest.fixture(scope="package")
def shared(tools: Tools, images: dict[str, object]) -> Iterator[Release]:
    """Return the installation that tests share, in whatever state the last test left it."""
    with tools.namespace("sluice-shared") as namespace, Release(tools, namespace, images) as release:
        release.install(SHARED)
        release.start_loader()
        yield release


@pytest.fixture(scope="package")
def photos(shared: Release) -> str:
    """Return a prefix with the photos of every load."""
    shared.upload("load", 50_000, PHOTOS)
    return "s3://images/load/"


@pytest.fixture
def release(shared: Release) -> Release:
    """Return the shared installation with its own values: all its pods ready, and no job in progress."""
    shared.scale("consumer", 2)
    shared.scale("torchserve", 1)
    shared.scale("gateway", 1)
    shared.wait_ready(producer=1, consumer=2, gateway=1, torchserve=1, mysql=1, s3=1)
    shared.sql("UPDATE jobs SET state = 'cancelled' WHERE state IN ('pending', 'running')")
    return shared


@pytest.fixture
def changeable(release: Release) -> Iterator[Release]:
    """Return the shared installation, and restore its own values afterwards."""
    yield release
    release.upgrade(SHARED, wait=False, hooks=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the cluster's state when a test failed."""
    report = yield
    for value in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(value, Release):
            told = value.tools.run("kubectl", "get", "pods,hpa,jobs", "--namespace", value.namespace, check=False)
            report.sections.append((f"cluster, {value.namespace}", told.stdout + "\n" + value.events()[-4000:]))
    return report
