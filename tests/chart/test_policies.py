"""Rules for every pod and every resource, whatever the values: security, names, labels."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64decode
from collections import Counter

import pytest

from tests.chart.rendered import PROFILES, Rendered, RenderedPod, Resource, Values, program, render

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SELECTORS = {f"app.kubernetes.io/{label}" for label in ("name", "instance", "component")}

GOOD = 10
# kube-score checks that this chart deliberately fails, and why.
DECIDED = {
    "container-image-pull-policy": "tags are versions: what is there needs no pull",
    "container-ephemeral-storage-request-and-limit": "pods write to emptyDirs, and each of those has its own limit",
    "statefulset-has-servicename": "the try-out's StatefulSets have one pod, which nobody asks for by its own name",
    "deployment-has-host-podantiaffinity": "topology spread does it, and not so stubbornly",
    "statefulset-has-host-podantiaffinity": "the same",
    "deployment-replicas": "TorchServe needs a GPU a replica: one is the default",
    "horizontalpodautoscaler-replicas": "the same",
    "CPU limit is not set": "it would slow a pod down while its node has time to spare",
    "Container is missing a livenessProbe": "the database: whoever kills it while it recovers makes it begin again",
}


def restricted(pod: RenderedPod) -> list[str]:
    """Return what violates version 1.34 of the Pod Security Standard `restricted` in a pod."""
    spec, wrong = pod.spec, []
    whole = spec.get("securityContext", {})
    wrong += [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    wrong += [f"volume {v['name']}" for v in spec.get("volumes", []) if not (set(v) - {"name"}) <= VOLUMES]
    wrong += ["sysctls"] if whole.get("sysctls") else []
    for container in pod.containers:
        own = {**whole, **container.get("securityContext", {})}
        seccomp = own.get("seccompProfile", {}).get("type")
        capabilities = own.get("capabilities", {})
        for what, is_right in {
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "capabilities": "ALL" in capabilities.get("drop", []) and not capabilities.get("add"),
            "runAsNonRoot": own.get("runAsNonRoot") is True and own.get("runAsUser") != 0,
            "seccompProfile": seccomp in {"RuntimeDefault", "Localhost"},
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "probe host": not any("host" in (probe.get("httpGet") or {}) for probe in _probes(container)),
        }.items():
            if not is_right:
                wrong.append(f"{container['name']}: {what}")
    return wrong


def _probes(container: Resource) -> list[Resource]:
    return [container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe") if name in container]


def test_every_pod_satisfies_the_standard_restricted(profile: Rendered) -> None:
    assert {pod.name: wrong for pod in profile.pods if (wrong := restricted(pod))} == {}


def test_no_container_can_write_to_its_own_files(profile: Rendered) -> None:
    for pod in profile.pods:
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_what_a_pod_writes_to_its_node_has_a_limit(profile: Rendered) -> None:
    for pod in profile.pods:
        for volume in pod.spec.get("volumes", []):
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), (pod.name, volume)


def test_no_pod_has_a_token_or_is_told_of_other_services(profile: Rendered) -> None:
    for pod in profile.pods:
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False
    for account in profile.of("ServiceAccount").values():
        assert account["automountServiceAccountToken"] is False


def test_only_pods_that_ask_s3_have_the_account_with_the_role(profile: Rendered) -> None:
    has_role = {pod.component for pod in profile.pods if "serviceAccountName" in pod.spec}
    asks = {pod.component for pod in profile.pods if any("SLUICE_S3_REGION" in pod.env(c) for c in pod.containers)}
    assert has_role >= asks
    assert has_role <= {"producer", "consumer", "gateway", "test", "torchserve", "trainer"}


def test_every_container_says_what_it_needs(profile: Rendered) -> None:
    for pod in profile.pods:
        for container in pod.containers:
            resources = container["resources"]
            assert set(resources["requests"]) >= {"cpu", "memory"}
            assert "memory" in resources["limits"]


def test_every_serving_container_is_probed(profile: Rendered) -> None:
    for pod in profile.pods:
        if pod.owner["kind"] in {"Deployment", "StatefulSet"}:
            assert "readinessProbe" in pod.main, pod.name
            assert "livenessProbe" in pod.main or pod.component == "mysql"


def test_every_job_ends_and_goes(profile: Rendered) -> None:
    for job in profile.of("Job").values():
        assert job["spec"]["activeDeadlineSeconds"]
        assert job["spec"]["ttlSecondsAfterFinished"]
        assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_selectors_are_three_labels_and_find_one_workload_each(profile: Rendered) -> None:
    workloads = [r for r in profile.resources if r["kind"] in {"Deployment", "StatefulSet"}]
    for workload in workloads:
        selector = workload["spec"]["selector"]["matchLabels"]
        assert set(selector) == SELECTORS
        found = [pod.name for pod in profile.pods if selector.items() <= pod.labels.items()]
        assert found == [workload["metadata"]["name"]]


def test_whatever_selects_our_pods_names_all_three_labels(profile: Rendered) -> None:
    """Two labels would also find the pods of another chart with the same release name."""
    selecting = [
        *(r["spec"]["selector"] for r in profile.of("Service").values()),
        *(r["spec"]["selector"]["matchLabels"] for r in profile.of("PodDisruptionBudget").values()),
        *(r["spec"]["selector"]["matchLabels"] for r in profile.of("ServiceMonitor").values()),
        *(r["spec"]["podSelector"]["matchLabels"] for r in profile.of("NetworkPolicy").values()),
        *(
            spread["labelSelector"]["matchLabels"]
            for pod in profile.pods
            for spread in pod.spec.get("topologySpreadConstraints", [])
        ),
    ]
    assert len(selecting) >= len(profile.of("Service"))
    # One policy denies everything to all components of the release.
    selecting.remove(profile.get("NetworkPolicy", "sluice")["spec"]["podSelector"]["matchLabels"])
    assert [labels for labels in selecting if not labels.keys() >= SELECTORS] == []


def test_selectors_do_not_follow_versions_or_values() -> None:
    """An upgrade that changes one would be rejected: selectors and claim templates are immutable."""
    base, changed = render(), render({"commonLabels": {"team": "x"}, "nameOverride": "", "image": {"tag": "9.9.9"}})
    for kind in ("Deployment", "StatefulSet"):
        for name, workload in base.of(kind).items():
            other = changed.get(kind, name)
            assert workload["spec"]["selector"] == other["spec"]["selector"]
            assert workload["spec"].get("volumeClaimTemplates") == other["spec"].get("volumeClaimTemplates")
            assert workload["spec"]["template"]["metadata"] == other["spec"]["template"]["metadata"]


def test_every_resource_has_the_usual_labels_and_its_namespace(profile: Rendered) -> None:
    for resource in profile.resources:
        metadata = resource["metadata"]
        assert metadata["namespace"] == "sluice"
        assert metadata["labels"].keys() >= SELECTORS | {"app.kubernetes.io/version"}


def test_no_two_resources_share_a_name(profile: Rendered) -> None:
    names = Counter((r["kind"], r["metadata"]["name"]) for r in profile.resources)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(
    ("release", "values", "beginning"),
    [
        ("sluice", {}, "sluice"),
        ("my-sluice-two", {}, "my-sluice-two"),
        ("photos", {}, "photos-sluice"),
        ("photos", {"nameOverride": "x"}, "photos-x"),
        ("photos", {"fullnameOverride": "y"}, "y"),
    ],
)
def test_names_begin_with_the_release(release: str, values: Values, beginning: str) -> None:
    rendered = render(values, release=release)
    assert f"{beginning}-producer" in rendered.of("StatefulSet")
    assert rendered.get("ServiceAccount", beginning)
    assert all(r["metadata"]["name"].startswith(beginning) for r in rendered.resources)


def test_the_longest_release_name_makes_names_that_kubernetes_takes() -> None:
    one, two = (render(PROFILES["everything"], release=f"{'r' * 50}-{n}") for n in "ab")
    for resource in one.resources:
        name = resource["metadata"]["name"]
        # A pod of a Deployment adds 17 characters, a revision of a StatefulSet 11; SLUICE_NAME takes 64.
        room = {"Deployment": 17, "StatefulSet": 11, "Job": 6}.get(resource["kind"], 0)
        assert len(name) + room <= 63
    assert not {r["metadata"]["name"] for r in one.resources} & {r["metadata"]["name"] for r in two.resources}


def test_a_name_that_is_cut_short_has_one_dash_where_it_was_cut() -> None:
    (account,) = render(release=f"{'r' * 24}--{'x' * 20}").of("ServiceAccount")
    assert re.fullmatch(rf"{'r' * 24}-[0-9a-f]{{8}}", account)


def test_secrets_stand_in_secrets_only() -> None:
    rendered = render(PROFILES["passwords in values"])
    hidden = ["open-sesame", "AKIA-mine", "hush-hush"]
    for resource in rendered.resources:
        if resource["kind"] != "Secret":
            assert not any(secret in json.dumps(resource) for secret in hidden), resource["metadata"]["name"]


def test_what_the_chart_makes_up_stands_in_secrets_only(default: Rendered) -> None:
    hidden = [
        text
        for secret in default.of("Secret").values()
        for name, encoded in secret["data"].items()
        if not name.endswith(".pub")
        for text in (encoded, b64decode(encoded).decode())
    ]
    assert len(hidden) == 2 * 7
    others = json.dumps([r for r in default.resources if r["kind"] != "Secret"])
    assert not any(text in others for text in hidden)


@pytest.mark.parametrize("name", PROFILES)
def test_kube_score_finds_nothing_that_was_not_decided(name: str) -> None:
    if not program("kube-score").exists():
        pytest.skip(f"no {program('kube-score')}")
    done = subprocess.run(
        [program("kube-score"), "score", "--kubernetes-version", "v1.34", "--output-format", "json", "-"],
        input=render(PROFILES[name]).text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = {
        (scored["object_name"], check["check"]["id"], comment["summary"])
        for scored in json.loads(done.stdout)
        for check in scored["checks"]
        if not check["skipped"] and check["grade"] < GOOD and check["check"]["id"] not in DECIDED
        for comment in check["comments"] or [{"summary": ""}]
        if comment["summary"] not in DECIDED
    }
    assert found == set()
