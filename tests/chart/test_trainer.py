"""The trainer: as a Deployment that may be none, or as a Job for each training."""

from __future__ import annotations

import pytest

from sluice.ledger import trainings
from tests.chart.rendered import EXTERNAL, ROOT, Rendered, Values, refusal, render

GPU = "nvidia.com/gpu"
STORE: Values = {"models": {"store": "s3://images/store/"}}


def trainer(**values: object) -> Rendered:
    """Render with a trainer, and values of its section."""
    return render({**STORE, "trainer": {"enabled": True, **values}})


def test_it_runs_where_torch_is_with_the_store_and_a_name_of_its_own() -> None:
    rendered = trainer()
    pod = rendered.pod("trainer")
    assert pod.main["image"] == rendered.pod("torchserve").main["image"]
    assert pod.main["command"] == ["tini", "--", "python", "-m", "trainer"]
    told = pod.env()
    assert told["SLUICE_MODEL_STORE"] == "s3://images/store/"
    assert told["SLUICE_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert told["SLUICE_DECODE_THREADS"]["resourceFieldRef"]["containerName"] == pod.main["name"]
    assert pod.main["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}
    assert rendered.get("Deployment", "sluice-trainer")["spec"]["replicas"] == 1
    assert pod.spec["serviceAccountName"] == "sluice"
    assert trainer(serviceAccountName="writer").pod("trainer").spec["serviceAccountName"] == "writer"


def test_what_the_image_has_is_what_it_needs() -> None:
    text = (ROOT / "docker/torchserve/Dockerfile").read_text()
    assert "requirements-trainer.txt" in text
    for folder in ("sluice", "trainer", "handlers", "model_store"):
        assert f"COPY {folder} /opt/sluice/{folder}" in text


def test_it_asks_for_gpus_by_the_values_that_torchserve_has() -> None:
    gpu = {"enabled": True, "count": 2, "runtimeClassName": "nvidia", "nodeSelector": {"pool": "gpu"}}
    pods = [render({**STORE, name: {"enabled": True, "gpu": gpu} if name == "trainer" else {"gpu": gpu}}).pod(name)
            for name in ("trainer", "torchserve")]  # fmt: skip
    for pod in pods:
        assert pod.main["resources"]["limits"][GPU] == pod.main["resources"]["requests"][GPU] == 2
        assert (pod.spec["nodeSelector"], pod.spec["runtimeClassName"]) == ({"pool": "gpu"}, "nvidia")
        assert [each["key"] for each in pod.spec["tolerations"]] == [GPU]
    assert GPU not in trainer().pod("trainer").main["resources"]["limits"]


def test_keda_has_none_while_no_training_waits_or_is_at_work() -> None:
    rendered = render({**EXTERNAL, **STORE, "trainer": {"enabled": True, "keda": {"enabled": True}}})
    assert "replicas" not in rendered.get("Deployment", "sluice-trainer")["spec"]
    scaled = rendered.get("ScaledObject", "sluice-trainer")["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (0, 1)
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["query"] == trainings.WAITING
    assert trigger["metadata"]["host"] == "db.example.com"
    authentication = rendered.get("TriggerAuthentication", trigger["authenticationRef"]["name"])
    assert authentication["spec"]["secretTargetRef"] == [{"parameter": "password", "name": "mine", "key": "pw"}]
    assert "sluice-consumer" not in rendered.of("TriggerAuthentication")


def test_a_job_with_its_labels_doesnt_hold_up_a_drain() -> None:
    """A budget that selects a Job's pod allows no eviction at all, as long as that pod exists."""
    selector = trainer().get("PodDisruptionBudget", "sluice-trainer")["spec"]["selector"]
    assert selector["matchExpressions"] == [{"key": "batch.kubernetes.io/job-name", "operator": "DoesNotExist"}]


def test_a_job_for_each_training_is_made_of_a_cron_job_that_never_runs() -> None:
    rendered = trainer(kind="Job")
    assert "sluice-trainer" not in rendered.of("Deployment")
    assert "sluice-trainer" not in rendered.of("PodDisruptionBudget")
    spec = rendered.get("CronJob", "sluice-trainer")["spec"]
    assert spec["suspend"] is True
    job = spec["jobTemplate"]["spec"]
    assert job["activeDeadlineSeconds"]
    assert job["ttlSecondsAfterFinished"]
    pod = rendered.pod("trainer")
    assert pod.spec["restartPolicy"] == "Never"
    assert pod.main["args"] == ["--until-idle"]


def test_without_one_nothing_of_it_is_there() -> None:
    assert not [each for each in render(STORE).resources if each["metadata"]["name"].endswith("-trainer")]


def test_weights_of_other_bases_are_fetched_from_where_the_values_say() -> None:
    def ports(rendered: Rendered) -> set[int]:
        egress = rendered.get("NetworkPolicy", "sluice-trainer")["spec"]["egress"]
        return {port["port"] for rule in egress for port in rule["ports"]}

    assert ports(trainer()) == {53, 3306, 7070}
    peers = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    values = {**STORE, "trainer": {"enabled": True}, "networkPolicy": {"trainerPeers": peers}}
    assert ports(render(values)) == {53, 443, 3306, 7070}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"trainer": {"enabled": True}}, "set models.store"),
        ({**STORE, "trainer": {"enabled": True, "kind": "Job", "keda": {"enabled": True}}}, "set trainer.kind=Deploy"),
        ({**STORE, "trainer": {"keda": {"enabled": True}}}, "set trainer.enabled=true"),
        ({**STORE, "trainer": {"enabled": True, "kind": "DaemonSet"}}, "kind"),
        (
            {**STORE, "trainer": {"enabled": True, "extraEnv": [{"name": "SLUICE_TRAINER_DEVICE", "value": "cpu"}]}},
            "set config.trainer_device",
        ),
    ],
)
def test_what_cant_be_is_refused_with_the_remedy(values: Values, said: str) -> None:
    assert said in refusal(values)
