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
    photos = ("s3://images/upgrades/", "--repeat", str(REPEATS))
    with Asking(release, "noop") as asking:
        with Load(release, "s3://images/upgrades/", "--priority", "1") as load:
            # It stands back for all others, and is there before, between and after.
            old = release.submit(*photos, "--model", "noop@1.0")
            wait_until(lambda: release.progress(old)["state"] == "running", "the older job has begun")
            release.upgrade(upgraded)
            release.wait_ready(producer=1, consumer=2, torchserve=1)
            new = release.submit(*photos, "--model", "noop@2.0", "--priority", "2")
            release.wait_done(new, SIZE, seconds=400)
            assert release.progress(old)["state"] == "running"
            release.helm("rollback", "--wait", "--timeout=6m")
            release.wait_ready(producer=1, consumer=2, torchserve=1)
        load.check()
        release.wait_done(old, SIZE, seconds=400)
    assert asking.failures == []
    assert asking.answers > 50
    release.check([old, new], PHOTOS, REPEATS)
    jobs = sorted([old, new, *load.jobs])
    rows = release.sql(f"SELECT DISTINCT job, model FROM results WHERE job >= {jobs[0]} ORDER BY job")
    assert rows == [[str(job), f"noop@{'2.0' if job == new else '1.0'}"] for job in jobs]
