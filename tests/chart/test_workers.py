"""Producers, consumers and the jobs around them: their settings, and when they run."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from sluice.protocol.keys import read_keys, read_public
from sluice.settings import read_settings
from tests.chart.rendered import EXTERNAL, PROFILES, Rendered, RenderedPod, render

DATABASE = "mysql://sluice@sluice-mysql.sluice.svc:3306/sluice"


def secret_key(name: str, key: str) -> dict[str, Any]:
    """Return the environment entry for a key of a Secret."""
    return {"secretKeyRef": {"name": name, "key": key}}


def test_without_values_everything_is_there(default: Rendered) -> None:
    assert {pod.component for pod in default.pods} == {
        *("producer", "consumer", "gateway", "torchserve", "mysql", "s3", "migrate", "register", "test", "gateway-test")
    }


@pytest.mark.parametrize("name", ["sluice-producer", "sluice-mysql", "sluice-s3"])
def test_a_wrong_image_can_be_corrected(default: Rendered, name: str) -> None:
    """With OrderedReady, a StatefulSet never replaces a pod that doesn't become ready."""
    assert default.get("StatefulSet", name)["spec"]["podManagementPolicy"] == "Parallel"


def test_a_shard_is_a_pod_with_its_own_number_and_name() -> None:
    rendered = render({"producer": {"shards": 3}})
    producer = rendered.get("StatefulSet", "sluice-producer")
    assert producer["spec"]["replicas"] == 3
    assert producer["spec"]["podManagementPolicy"] == "Parallel"
    env = rendered.pod("producer").env()
    assert env["SLUICE_SHARD"] == {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    assert env["SLUICE_SHARDS"] == "3"
    assert env["SLUICE_BIND"] == "tcp://0.0.0.0:5600"
    assert rendered.pod("consumer").env()["SLUICE_PRODUCERS"].split(",") == [
        f"tcp://sluice-producer-{shard}.sluice-producer.sluice.svc:5600" for shard in range(3)
    ]
    service = rendered.get("Service", producer["spec"]["serviceName"])["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("component", ["producer", "consumer"])
def test_the_environment_is_one_that_the_settings_take(
    component: str, profile: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"SLUICE_SHARD": "0", "SLUICE_NAME": "x", "SLUICE_DATABASE_PASSWORD": "x", "SLUICE_DECODE_THREADS": "1"}
    for name, value in profile.pod(component).env().items():
        if name.startswith("SLUICE_"):
            monkeypatch.setenv(name, value if isinstance(value, str) else given[name])
    settings = read_settings()
    assert settings.metrics_port == 9100
    assert settings.log_format == "json"


@pytest.mark.parametrize("component", ["producer", "consumer"])
def test_probes_ask_live_and_ready(component: str, default: Rendered) -> None:
    container = default.pod(component).main
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "metrics"}
    for probe in (container["livenessProbe"], container["startupProbe"]):
        assert probe["httpGet"] == {"path": "/live", "port": "metrics"}
    liveness = container["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 120, "a busy process isn't to be killed"


def test_a_consumer_has_ten_seconds_more_than_its_drain() -> None:
    consumer = render({"consumer": {"drainSeconds": 40}}).pod("consumer")
    assert consumer.env()["SLUICE_DRAIN_SECONDS"] == "40"
    assert consumer.spec["terminationGracePeriodSeconds"] == 50


def test_a_consumer_decodes_with_as_many_threads_as_it_has_cores() -> None:
    def source(**consumer: Any) -> Any:  # noqa: ANN401 - a piece of YAML
        return render({"consumer": consumer}).pod("consumer").env().get("SLUICE_DECODE_THREADS")

    assert source()["resourceFieldRef"]["resource"] == "requests.cpu"
    assert source(resources={"limits": {"cpu": "2"}})["resourceFieldRef"]["resource"] == "limits.cpu"
    assert source(resources={"requests": {"cpu": None}}) is None
    chosen = render({"config": {"decode_threads": 3}}).pod("consumer").env()
    assert chosen["SLUICE_DECODE_THREADS"] == "3"


def test_a_pod_mounts_only_its_own_half_of_the_keys(default: Rendered) -> None:
    def files(pod: RenderedPod) -> dict[str, str]:
        (curve,) = [volume["secret"] for volume in pod.spec["volumes"] if volume["name"] == "curve"]
        return {item["key"]: item["path"] for item in curve["items"]}

    producer, consumer = default.pod("producer"), default.pod("consumer")
    assert files(producer) == {"producer.key": "producer.key", "consumer.pub": "clients/consumer.pub"}
    assert files(consumer) == {"consumer.key": "consumer.key", "producer.pub": "producer.pub"}
    folder = "/etc/sluice/curve"
    assert producer.env()["SLUICE_CURVE_KEY"] == f"{folder}/producer.key"
    assert producer.env()["SLUICE_CURVE_CLIENTS"] == f"{folder}/clients"
    assert consumer.env()["SLUICE_CURVE_KEY"] == f"{folder}/consumer.key"
    assert consumer.env()["SLUICE_CURVE_SERVER"] == f"{folder}/producer.pub"


def test_the_keys_that_helm_makes_are_pairs_that_sluice_reads(default: Rendered, tmp_path: Path) -> None:
    for name, encoded in default.get("Secret", "sluice-curve")["data"].items():
        (tmp_path / name).write_bytes(b64decode(encoded))
    pairs = {who: read_keys(tmp_path / f"{who}.key") for who in ("producer", "consumer")}
    for who, pair in pairs.items():
        assert read_public(tmp_path / f"{who}.pub") == pair.public
    assert pairs["producer"].secret != pairs["consumer"].secret


def test_keys_can_be_brought_or_left_out() -> None:
    brought = render({"curve": {"existingSecret": "mine"}})
    assert "sluice-curve" not in brought.of("Secret")
    assert "secretName: mine" in brought.text
    without = render({"curve": {"enabled": False}})
    assert "CURVE" not in without.text
    assert "/etc/sluice" not in without.text


def test_the_database_to_try_out_is_asked_with_its_own_secret(default: Rendered) -> None:
    for component in ("producer", "consumer", "migrate", "register", "test"):
        env = default.pod(component).env()
        assert env["SLUICE_DATABASE_URL"] == DATABASE
        assert env["SLUICE_DATABASE_PASSWORD"] == secret_key("sluice-mysql", "password")
    server = default.pod("mysql").env()
    assert server["MARIADB_PASSWORD"] == secret_key("sluice-mysql", "password")


def test_what_holds_rows_stays_after_an_uninstall(default: Rendered) -> None:
    annotations = default.get("Secret", "sluice-mysql")["metadata"]["annotations"]
    assert annotations["helm.sh/resource-policy"] == "keep"
    for name in ("sluice-mysql", "sluice-s3"):
        policy = default.get("StatefulSet", name)["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}


def test_a_database_of_ones_own_is_asked_with_the_secret_that_is_named() -> None:
    rendered = render(EXTERNAL)
    assert "mysql" not in {pod.component for pod in rendered.pods}
    for component in ("producer", "consumer", "migrate", "register"):
        env = rendered.pod(component).env()
        assert env["SLUICE_DATABASE_URL"] == "mysql://me@db.example.com:3307/led"
        assert env["SLUICE_DATABASE_PASSWORD"] == secret_key("mine", "pw")


@pytest.mark.parametrize("kind", ["existingConfigMap", "existingSecret"])
def test_a_ca_is_mounted_where_the_setting_says(kind: str) -> None:
    database = {**EXTERNAL["database"], "ca": {kind: "rds", "key": "bundle.pem"}}
    rendered = render({**EXTERNAL, "database": database})
    for component in ("producer", "consumer", "migrate", "register"):
        pod = rendered.pod(component)
        assert pod.env()["SLUICE_DATABASE_CA"] == "/etc/sluice/database/bundle.pem"
        (mount,) = [mount for mount in pod.main["volumeMounts"] if mount["name"] == "database-ca"]
        assert mount["mountPath"] == "/etc/sluice/database"
        (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "database-ca"]
        assert "rds" in str(volume)


def test_tables_come_beside_a_database_that_comes_with_the_release(default: Rendered) -> None:
    job = default.get("Job", "sluice-migrate-1")
    assert "annotations" not in job["metadata"]
    assert default.pod("migrate").main["args"] == ["sluice", "db", "upgrade", "--wait=300"]


def test_tables_come_before_everything_where_the_database_is_there() -> None:
    rendered = render(PROFILES["passwords in values"])
    job = rendered.get("Job", "sluice-migrate")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    secret = rendered.get("Secret", "sluice-migrate")["metadata"]["annotations"]
    assert int(secret["helm.sh/hook-weight"]) < 0
    # A failed install that is rolled back leaves no password; the job stays, so that its log can be read.
    assert "hook-failed" in secret["helm.sh/hook-delete-policy"]
    assert "hook-failed" not in job["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    env = rendered.pod("migrate").env()
    assert env["SLUICE_DATABASE_PASSWORD"] == secret_key("sluice-migrate", "password")
    # Nothing that a hook needs may be left for the release to make.
    assert rendered.pod("migrate").spec.get("serviceAccountName") is None


def test_models_are_registered_last_and_again_after_a_rollback() -> None:
    models = [
        {"name": "a", "version": "2", "archive": "a.mar", "live": True},
        {"name": "b", "version": "1.0", "archive": "b.mar"},
    ]
    rendered = render({"torchserve": {"models": models}, "register": {"waitSeconds": 90}})
    job = rendered.get("Job", "sluice-register")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade,post-rollback"
    at = "http://sluice-torchserve-pods.sluice.svc:8080/predictions"
    assert [container["args"] for container in rendered.pod("register").containers] == [
        ["sluice", "models", "register", f"{at}/a/2", "--wait=90", "--promote"],
        ["sluice", "models", "register", f"{at}/b/1.0", "--wait=90"],
    ]
    assert "sluice-register" not in render({"register": {"enabled": False}}).of("Job")


def test_the_s3_to_try_out_has_the_buckets_and_its_clients_the_keys() -> None:
    rendered = render({"s3": {"buckets": ["images", "more"], "sidecar": True}})
    server = rendered.pod("s3")
    (making,) = server.spec["initContainers"]
    assert making["args"] == ["/data/buckets/images", "/data/buckets/more", "/data/metadata"]
    assert server.main["args"][-4:] == ["posix", "--io-buffer-size=131072", "--sidecar=/data/metadata", "/data/buckets"]
    assert server.env()["ROOT_ACCESS_KEY"] == secret_key("sluice-s3", "AWS_ACCESS_KEY_ID")
    for component in ("producer", "consumer", "test"):
        env = rendered.pod(component).env()
        assert env["SLUICE_S3_ENDPOINT"] == "http://sluice-s3.sluice.svc:7070"
        assert env["AWS_SECRET_ACCESS_KEY"] == secret_key("sluice-s3", "AWS_SECRET_ACCESS_KEY")


def test_on_aws_a_role_does_without_keys() -> None:
    arn = "arn:aws:iam::123456789012:role/sluice"
    rendered = render({**EXTERNAL, "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": arn}}})
    account = rendered.get("ServiceAccount", "sluice")
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": arn}
    for component in ("producer", "consumer"):
        pod = rendered.pod(component)
        assert pod.spec["serviceAccountName"] == "sluice"
        assert pod.env()["AWS_REGION"] == pod.env()["SLUICE_S3_REGION"] == "eu-central-1"
        assert not {"AWS_ACCESS_KEY_ID", "SLUICE_S3_ENDPOINT"} & set(pod.env())


def test_no_pod_asks_for_the_role_of_its_node_unless_told_to() -> None:
    for values in ({}, EXTERNAL):
        for component in ("producer", "consumer"):
            assert render(values).pod(component).env()["AWS_EC2_METADATA_DISABLED"] == "true"
    told = render({**EXTERNAL, "extraEnv": [{"name": "AWS_EC2_METADATA_DISABLED", "value": "false"}]})
    assert told.pod("producer").env()["AWS_EC2_METADATA_DISABLED"] == "false"


def test_jobs_go_to_the_nodes_that_are_named() -> None:
    nodes = {"nodeSelector": {"pool": "spare"}, "tolerations": [{"key": "spare", "operator": "Exists"}]}
    rendered = render(dict.fromkeys(("migrate", "register", "test"), nodes))
    for component in ("migrate", "register", "test"):
        spec = rendered.pod(component).spec
        assert {name: spec[name] for name in nodes} == nodes


def test_an_account_of_ones_own_is_used_and_not_made() -> None:
    rendered = render({"serviceAccount": {"create": False, "name": "theirs"}})
    assert rendered.of("ServiceAccount") == {}
    assert rendered.pod("producer").spec["serviceAccountName"] == "theirs"


def test_keys_of_a_secret_and_of_values_reach_the_pods() -> None:
    rendered = render({**EXTERNAL, "objectStore": {"existingSecret": "keys"}})
    assert rendered.pod("producer").env()["AWS_ACCESS_KEY_ID"] == secret_key("keys", "AWS_ACCESS_KEY_ID")
    rendered = render(PROFILES["passwords in values"])
    assert rendered.pod("consumer").env()["AWS_ACCESS_KEY_ID"] == secret_key("sluice-object-store", "AWS_ACCESS_KEY_ID")
    assert rendered.get("Secret", "sluice-object-store")["stringData"]["AWS_ACCESS_KEY_ID"] == "AKIA-mine"


def test_pods_begin_anew_when_a_password_in_the_values_changes() -> None:
    def annotation(password: str, namespace: str = "sluice") -> str:
        values = {**EXTERNAL, "database": {"url": "mysql://me@db/led", "password": password}}
        template = render(values, namespace=namespace).get("Deployment", "sluice-consumer")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/secrets"])

    assert annotation("one") != annotation("two")
    assert annotation("one") != annotation("one", "other"), "a table of passwords would fit every release"
    bare = hashlib.sha256(json.dumps(["one", "", ""], separators=(",", ":")).encode()).hexdigest()
    assert annotation("one") != bare[:8], "guesses would cost nothing"
    assert re.fullmatch(r"[0-9a-f]{8}", annotation("one"))


def test_the_test_needs_to_know_where_it_may_write() -> None:
    args = ["sluice", "selftest", "s3://images/selftest/", "--timeout=240", "--model=efficientnet-lite0"]
    assert render().pod("test").main["args"] == args
    assert "sluice-test" not in render(EXTERNAL).of("Pod")
    named = render({**EXTERNAL, "test": {"source": "s3://mine/tests/"}})
    assert named.pod("test").main["args"][2] == "s3://mine/tests/"


def test_the_test_goes_with_its_success(default: Rendered) -> None:
    """A release that is uninstalled must leave no pod behind; a failed one is worth reading."""
    annotations = default.get("Pod", "sluice-test")["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "test"
    assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


def test_further_environment_reaches_the_workers() -> None:
    extra = [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    rendered = render({"extraEnv": extra, "consumer": {"extraEnv": [{"name": "TZ", "value": "UTC"}]}})
    assert rendered.pod("producer").env()["HTTPS_PROXY"] == "http://proxy:3128"
    assert rendered.pod("consumer").env()["TZ"] == "UTC"
    assert "TZ" not in rendered.pod("producer").env()
