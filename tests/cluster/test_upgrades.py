"""New images and a new model version under load, and back."""

from __future__ import annotations

from tests.cluster.load import Asking
from tests.cluster.tools import Release, wait_until
from tests.cluster.values import NEXT, SHARED

PHOTOS = 300
OLD = 50
NEW = 5


def test_upgrade_and_rollback_under_load(release: Release) -> None:
    """No failed prediction at the load balancer, nothing lost, and each row has the model that its job began with."""
    release.upload("upgrades", 70_000, PHOTOS)
    models = SHARED["torchserve"]["models"]
    newer = {"name": "noop", "version": "2.0", "archive": "noop-2.mar", "live": False}
    upgraded = {
        **SHARED,
        "image": {**release.images, "tag": NEXT},
        "torchserve": {**SHARED["torchserve"], "image": {"tag": NEXT}, "models": [*models, newer]},
    }
    with Asking(release, "noop") as asking:
        old = release.submit("s3://images/upgrades/", "--model", "noop@1.0", "--repeat", str(OLD))
        release.upgrade(upgraded)
        release.wait_ready(producer=1, consumer=2, torchserve=1)
        new = release.submit("s3://images/upgrades/", "--model", "noop@2.0", "--repeat", str(NEW), "--priority", "5")
        release.wait_done(new, PHOTOS * NEW, seconds=400)
        assert release.progress(old)["state"] == "running"
        release.helm("rollback", "--wait", "--timeout=6m")
        release.wait_ready(producer=1, consumer=2, torchserve=1)
        release.wait_done(old, PHOTOS * OLD, seconds=600)
    assert asking.failures == []
    assert asking.answers > 50
    for job, version, repeats in ((old, "1.0", OLD), (new, "2.0", NEW)):
        release.check(job, PHOTOS, repeats)
        assert release.sql(f"SELECT DISTINCT model FROM results WHERE job = {job}") == [[f"noop@{version}"]]
    wait_until(lambda: release.progress(old)["state"] == "done", "the older job has ended")
