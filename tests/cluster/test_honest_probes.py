"""A model archive that can't load: the installation fails in time, and says which archive and why."""

from __future__ import annotations

import base64
import io
import json
import zipfile

from tests.cluster.releases import CHART, Release, wait_until
from tests.support.model_archives import signed
from tools.stack import archive_of


def test_an_archive_that_cannot_load_is_named_with_its_cause(release: Release) -> None:
    """TorchServe's own /ping would say that it is healthy."""
    release.run("sh", "-c", "base64 -d >/tmp/broken.mar && sluice upload /tmp/broken.mar s3://images/models/",
                words=base64.encodebytes(broken_archive()).decode())  # fmt: skip
    broken = Release(release.tools, release.namespace, release.images, name="broken")
    values = {
        "s3": {"enabled": False},
        "objectStore": {"endpoint": "http://sluice-s3:7070", "region": "us-east-1", "existingSecret": "sluice-s3"},
        "torchserve": {
            "models": [{"name": "noop", "version": "1.0", "archive": "broken.mar", "live": True}],
            "modelStore": {"type": "s3", "url": "s3://images/models/"},
            "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        },
        "consumer": {"replicas": 0},
        "gateway": {"enabled": False},
    }
    with broken:
        told = broken.helm("install", str(CHART), "--wait", "--timeout=10s", values=values, check=False)
        assert "deadline" in told or "timed out" in told or "not ready" in told.lower()
        wait_until(lambda: "no_such_network" in broken.events(), "an event names the cause")
        assert "broken.mar" in broken.events()
        assert broken.ready("torchserve") == 0


def broken_archive() -> bytes:
    """Return an archive that names an unknown network."""
    written = io.BytesIO()
    with zipfile.ZipFile(archive_of("noop")) as good, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "model.json":
                content = json.dumps(signed({**json.loads(content), "architecture": "no_such_network"})).encode()
            bad.writestr(name, content)
    return written.getvalue()
