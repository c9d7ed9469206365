"""New images and a new model version under load, and back."""

from __future__ import annotations

from tests.cluster.load import PHOTOS, Asking, Load
from tests.cluster.releases import Release, is_among
from tests.cluster.values import NEXT, SHARED

SOME = 50


def test_upgrade_and_rollback_under_load(release: Release, photos: str) -> None:
    """No prediction at the load balancer fails, nothing is lost, and each row has the model that its job began with."""
    models = SHARED["torchserve"]["models"]
    newer = {"name": "noop", "version": "2.0", "archive": "noop-2.mar", "live": False}
    upgraded = {
        **SHARED,
        "image": {**release.images, "tag": NEXT},
        "torchserve": {**SHARED["torchserve"], "image": {"tag": NEXT}, "models": [*models, newer]},
    }
    with Asking(release, "noop") as asking:
        with Load(release, photos) as load:
            old = release.submit("s3://images/watched/", "--model", "noop@1.0", "--watch", "--watch-seconds", "2")
            arrive(release, old, 1)
            # As README does; with the upgrade the values count again.
            release.scale("consumer", 3)
            assert "Phase:          Succeeded" in release.deploy(upgraded, "--timeout", "6m")
            release.wait_ready(producer=1, consumer=2, torchserve=1)
            new = release.submit(photos, "--model", "noop@2.0", "--priority", "1")
            release.wait_done(new, PHOTOS)
            arrive(release, old, 2)
            release.helm("rollback", "--wait", "--timeout=6m")
            release.wait_ready(producer=1, consumer=2, torchserve=1)
        arrive(release, old, 3)
        load.check()
    assert asking.failures == []
    assert asking.answers > 50
    release.check([new], PHOTOS)
    release.check([old], 3 * SOME)
    jobs = sorted([old, new, *load.jobs])
    rows = release.sql(f"SELECT DISTINCT job, model FROM results WHERE {is_among(jobs)} ORDER BY job")
    assert rows == [[str(job), f"noop@{'2.0' if job == new else '1.0'}"] for job in jobs]


def arrive(release: Release, job: int, part: int) -> None:
    """Upload some photos to a watched prefix, and wait for their predictions."""
    release.upload("watched", 80_000 + part * SOME, SOME)
    release.wait_done(job, part * SOME)
