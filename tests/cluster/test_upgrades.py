"""New images and a new model version under load, and back."""

from __future__ import annotations

from tests.cluster.load import PHOTOS, REPEATS, SIZE, Asking, Load
from tests.cluster.tools import Release, wait_until
from tests.cluster.values import NEXT, SHARED


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
    job = ("s3://images/upgrades/", "--repeat", str(REPEATS))
    with Asking(release, "noop") as asking:
        old = release.submit(*job, "--model", "noop@1.0")
        wait_until(lambda: release.progress(old)["done"] != "0", "the older job is under way")
        # Its priority is higher: the older job stands back, and is there before, between and after.
        with Load(release, "s3://images/upgrades/", "--priority", "1") as load:
            release.upgrade(upgraded)
            release.wait_ready(producer=1, consumer=2, torchserve=1)
            new = release.submit(*job, "--model", "noop@2.0", "--priority", "2")
            release.wait_done(new, SIZE, seconds=400)
            assert release.progress(old)["state"] == "running"
            release.helm("rollback", "--wait", "--timeout=6m")
            release.wait_ready(producer=1, consumer=2, torchserve=1)
        load.check()
        release.wait_done(old, SIZE, seconds=400)
    assert asking.failures == []
    assert asking.answers > 50
    release.check([old, new], PHOTOS, REPEATS)
    rows = release.sql(f"SELECT DISTINCT job, model FROM results WHERE job >= {old} ORDER BY job")
    assert rows == [[str(each), f"noop@{'2.0' if each == new else '1.0'}"] for each in sorted([old, new, *load.jobs])]
