"""More and fewer pods while a job runs: by the HPA, by KEDA, and by hand."""

from __future__ import annotations

import base64
import re

from tests.cluster import asked_trainings
from tests.cluster.asked_trainings import PICTURES, SOURCE
from tests.cluster.load import Asking, Load
from tests.cluster.releases import ROOT, Release, wait_until
from tests.cluster.values import SHARED

MOST = 3
WARM = 50
REQUESTS = "sluice_torchserve_requests_total"
COUNTED = 600
QUICK = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {
        "stabilizationWindowSeconds": 5,
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 5}],
    },
}
AUTOSCALED = {
    "enabled": True,
    "minReplicas": 1,
    "maxReplicas": MOST,
    "targetCPUUtilizationPercentage": 60,
    "behavior": QUICK,
}
BY_BACKLOG = {
    "enabled": True,
    "minReplicas": 0,
    "maxReplicas": MOST,
    "backlogPerReplica": 200,
    "pollingInterval": 1,
    "cooldownPeriod": 5,
    "behavior": QUICK,
}
BY_TRAININGS = {"enabled": True, "pollingInterval": 1, "cooldownPeriod": 5}


def test_the_hpa_follows_the_load_up_and_down(changeable: Release, photos: str) -> None:
    """Consumers go from 1 to the maximum and back to 1."""
    follow(changeable, photos, {"autoscaling": AUTOSCALED}, idle=1)


def test_keda_follows_the_backlog_from_none_and_back(keda: None, changeable: Release, photos: str) -> None:  # noqa: ARG001 - it must be there
    """Consumers go from none to the maximum and back; leased objects count, so no working consumer is removed."""
    follow(changeable, photos, {"keda": BY_BACKLOG}, idle=0)


def test_keda_has_a_trainer_and_consumers_only_while_somebody_asks(keda: None, changeable: Release) -> None:  # noqa: ARG001 - it must be there
    """A training starts its trainer, a job its consumers, and then none is left; KEDA signs in as the guide says."""
    release = changeable
    asked_trainings.upload_labelled(release)
    secret = {"connectionSecret": give_keda_a_connection(release)}
    scaled = {"consumer": {**BY_BACKLOG, **secret}, "trainer": {**BY_TRAININGS, **secret}}
    release.upgrade({**SHARED, **{name: {**SHARED[name], "keda": scaled[name]} for name in scaled}}, hooks=False)
    wait_until(lambda: not release.pods("trainer") and not release.pods("consumer"), "neither has a pod")
    training = asked_trainings.ask(release, "scaled")
    wait_until(lambda: asked_trainings.is_over(release, training), "a trainer takes it up, and ends it")
    state, message, _, model = asked_trainings.row(release, training)
    assert (state, message) == ("done", "")
    wait_until(lambda: not release.pods("trainer"), "no trainer is left")
    wait_until(lambda: asked_trainings.serving(release, model), "TorchServe serves what it made")
    job = release.submit(SOURCE, "--model", model)
    release.wait_done(job, PICTURES)
    wait_until(lambda: not release.pods("consumer"), "no consumer is left")
    release.check([job], PICTURES)
    release.run("sluice", "models", "retire", model)


def give_keda_a_connection(release: Release) -> str:
    """Create the Secret of docs/production.md; return its name. tests/integration/test_keda_rights.py has its user."""
    guide = (ROOT / "docs" / "production.md").read_text()
    command = r"create secret generic (\S+) \\\n *--from-literal='(connectionString=keda:\S+)'"
    ((secret, value),) = re.findall(command, guide)
    # Nobody may make users in the try-out's database, and it has no TLS.
    password = release.tools.core.read_namespaced_secret(f"{release.name}-mysql", release.namespace).data["password"]
    value = value.partition("?")[0].replace("keda:…", f"sluice:{base64.b64decode(password).decode()}")
    value = re.sub(r"@tcp\([^:]*", f"@tcp({release.name}-mysql.{release.namespace}", value)
    made = ["create", "secret", "generic", secret, f"--from-literal={value}"]
    release.tools.run("kubectl", *made, f"--namespace={release.namespace}")
    return str(secret)


def follow(release: Release, photos: str, scaler: dict[str, object], idle: int) -> None:
    """Scale up and down during a job: no object is lost or inferred twice."""
    release.upgrade({**SHARED, "consumer": {**SHARED["consumer"], **scaler}}, hooks=False)
    wait_until(lambda: len(release.pods("consumer")) == idle, f"{idle} idle consumers are left")
    before = handed_out(release)
    with Load(release, photos) as load:
        wait_until(lambda: release.ready("consumer") == MOST, f"{MOST} ready consumers")
    load.check()
    wait_until(lambda: len(release.pods("consumer")) == idle, f"{idle} consumers are left again")
    assert handed_out(release) - before == load.objects


def test_kubectl_scale_does_the_same(release: Release, photos: str) -> None:
    """By hand, up and down while a job runs: objects that a drained consumer gave back were never begun."""
    before = handed_out(release)
    with Load(release, photos) as load:
        for count in (4, 1, 3, 2):
            release.scale("consumer", count)
            release.wait_ready(consumer=count)
    load.check()
    assert handed_out(release) - before == load.objects


def test_torchserve_scales_without_a_failed_prediction(release: Release, photos: str) -> None:
    """TorchServe from 1 to 2 to 1: no prediction fails, and both replicas get their share of the requests."""
    failed_before = release.metric("consumer", REQUESTS, 'outcome="down"')
    with Asking(release) as asking:
        job = release.submit(photos, "--model", "noop@1.0", "--repeat", "400")
        release.scale("torchserve", 2)
        release.wait_ready(torchserve=2)
        addresses = [pod.status.pod_ip for pod in release.pods("torchserve")]
        # A new one is slow at first, and gets fewer requests.
        wait_until(lambda: min(requests(release, address) for address in addresses) > WARM, "both are warm")
        start = [requests(release, address) for address in addresses]
        wait_until(
            lambda: sum(requests(release, address) for address in addresses) > sum(start) + COUNTED, "their requests"
        )
        shares = [requests(release, address) - before for address, before in zip(addresses, start, strict=True)]
        assert 0.4 <= shares[0] / sum(shares) <= 0.6
        release.scale("torchserve", 1)
        release.wait_ready(torchserve=1)
        release.run("sluice", "jobs", "cancel", str(job))
        wait_until(lambda: release.progress(job)["state"] == "cancelled", "the job is cancelled")
    assert asking.failures == []
    assert asking.answers > 20
    assert release.progress(job)["quarantined"] == "0"
    assert release.metric("consumer", REQUESTS, 'outcome="down"') == failed_before, told(release)


def told(release: Release) -> str:
    """Return what consumers say of TorchServe's addresses."""
    lines = [line for pod in release.pods("consumer") for line in release.logs(pod.metadata.name).splitlines()]
    return "\n".join(line for line in lines if "endpoint" in line)


def handed_out(release: Release) -> float:
    """Return how many objects a producer sent and didn't get back unbegun: each of them is inferred once."""
    return release.metric("producer", "sluice_leased_total") - release.metric("producer", "sluice_returned_total")


def requests(release: Release, address: str) -> float:
    """Return how many requests one TorchServe answered to the running consumers."""
    return sum(
        float(line.rpartition(" ")[2])
        for pod in release.pods("consumer")
        for line in release.metrics(pod.metadata.name)
        if line.startswith(REQUESTS + "{") and f"//{address}:" in line and 'outcome="ok"' in line
    )
