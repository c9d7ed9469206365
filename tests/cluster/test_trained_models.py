"""A training in the cluster: its trainer's pod dies, another ends it, and every TorchServe pod serves what it made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.cluster import asked_trainings
from tests.cluster.asked_trainings import KINDS, PICTURES, SOURCE, is_over, row, serving
from tests.cluster.load import Asking
from tests.cluster.releases import Release, wait_until

PODS: Final = 2


@pytest.fixture
def training_release(release: Release) -> Iterator[Release]:
    """Return the shared installation with labelled pictures and a trainer; afterwards the trainer is gone."""
    release.scale("trainer", 1)
    asked_trainings.upload_labelled(release)
    yield release
    release.scale("trainer", 0)


def test_a_trained_model_is_served_by_all_pods_although_its_trainer_died(training_release: Release) -> None:
    """A row starts it, agents load what it made, a job asks for it; meanwhile no prediction fails."""
    release = training_release
    training = asked_trainings.ask(release, "shapes")
    dead = kill_at_work(release)
    assert row(release, training)[0] == "running", "it was over before its trainer died: give it more pictures"
    # Meanwhile: half a minute passes until another trainer may take up what a dead one had.
    release.scale("torchserve", PODS)
    release.wait_ready(torchserve=PODS)
    with Asking(release) as asking:
        wait_until(lambda: is_over(release, training), "the training ends", pause=1.0)
        state, message, trainer, model = row(release, training)
        assert (state, message, model) == ("done", "", "shapes@1.0")
        assert trainer != dead
        wait_until(lambda: serving(release, model) == PODS, "all pods serve it", pause=1.0)
        job = release.submit(SOURCE, "--model", model)
        release.wait_done(job, PICTURES)
    assert asking.failures == []
    assert asking.answers
    release.check([job], PICTURES)
    said = release.sql(f"SELECT DISTINCT model, label FROM results WHERE job = {job} ORDER BY label")
    assert said == [[model, kind] for kind in KINDS]
    seconds = release.sql(SERVED.format(training=training))[0][0]
    print(f"{PODS} pods served it {seconds} s after it was published; {asking.answers} other predictions, none failed")  # noqa: T201 - with -s
    release.run("sluice", "models", "retire", model)


def kill_at_work(release: Release) -> str:
    """Kill the trainer in the middle of a training, without a last word, and delete its pod; return the pod's name."""
    wait_until(lambda: has_read(release), "the trainer reads pictures", pause=0.1)
    pod = release.pods("trainer")[0].metadata.name
    within = ["kubectl", "exec", pod, f"--namespace={release.namespace}", "--"]
    release.tools.run(*within, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
    release.tools.core.delete_namespaced_pod(pod, release.namespace, grace_period_seconds=0)
    return str(pod)


def has_read(release: Release) -> bool:
    """Return whether the trainer has read a picture."""
    lines = [line for pod in release.pods("trainer") for line in release.metrics(pod.metadata.name, check=False)]
    return any(line.startswith('sluice_training_steps_total{stage="reading"}') for line in lines)


SERVED: Final = """\
SELECT ROUND(TIMESTAMPDIFF(MICROSECOND, MIN(t.finished), MAX(s.changed)) / 1e6, 1)
FROM trainings t JOIN servings s ON s.model_id = t.model_id WHERE t.id = {training}"""
