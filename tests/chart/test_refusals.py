"""Contradictory values are rejected, with a message that names the value to set."""

from __future__ import annotations

import pytest

from tests.chart.rendered import EXTERNAL, Values, refusal, render

DATABASE = EXTERNAL["database"]


def external(**changed: object) -> Values:
    """Return the values of an external database and S3, with some sections replaced."""
    return {**EXTERNAL, **changed}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"database": DATABASE}, "set mysql.enabled=false"),
        ({"mysql": {"enabled": False}}, "set database.url=mysql://user@host:3306/database"),
        (external(database={**DATABASE, "url": "mysql://me:secret@db/led"}), "set database.existingSecret"),
        (external(database={**DATABASE, "url": "mysql://db/led"}), "set it to mysql://user@host:3306/database"),
        (external(database={**DATABASE, "password": "x"}), "leave database.password empty"),
        (external(database={"url": "mysql://me@db/led"}), "set database.existingSecret"),
        (
            external(database={**DATABASE, "ca": {"existingConfigMap": "a", "existingSecret": "b"}}),
            "leave one empty",
        ),
        ({"database": {"ca": {"existingConfigMap": "a"}}}, "set mysql.enabled=false"),
        ({"objectStore": {"endpoint": "http://minio:9000"}}, "set s3.enabled=false"),
        ({"objectStore": {"role": "arn:aws:iam::1:role/x"}}, "set s3.enabled=false"),
        (external(objectStore={"accessKeyId": "a"}), "set objectStore.accessKeyId and objectStore.secretAccessKey"),
        (
            external(objectStore={"existingSecret": "s", "accessKeyId": "a", "secretAccessKey": "b"}),
            "leave objectStore.accessKeyId and objectStore.secretAccessKey empty",
        ),
        ({"curve": {"enabled": False, "existingSecret": "keys"}}, "set curve.enabled=true"),
        ({"metrics": {"prometheusRule": {"enabled": True}}}, "set metrics.serviceMonitor.enabled=true"),
        ({"serviceAccount": {"create": False, "annotations": {"a": "b"}}}, "set serviceAccount.create=true"),
        (
            {"consumer": {"autoscaling": {"enabled": True}, "keda": {"enabled": True}}},
            "set consumer.autoscaling.enabled=false or consumer.keda.enabled=false",
        ),
        (
            {"consumer": {"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 4}}},
            "set consumer.autoscaling.maxReplicas to 5 or more",
        ),
        (
            {"torchserve": {"autoscaling": {"enabled": True, "minReplicas": 9}}},
            "set torchserve.autoscaling.maxReplicas to 9 or more",
        ),
        (
            {"consumer": {"keda": {"enabled": True, "minReplicas": 11}}},
            "set consumer.keda.maxReplicas to 11 or more",
        ),
        (
            {"consumer": {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0}}},
            "set consumer.autoscaling.targetCPUUtilizationPercentage or .metrics",
        ),
        (
            {"consumer": {"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}},
            "set consumer.resources.requests.cpu",
        ),
        ({"torchserve": {"modelStore": {"type": "pvc"}}}, "set torchserve.modelStore.claim"),
        ({"torchserve": {"modelStore": {"type": "s3"}}}, "set torchserve.modelStore.url"),
        ({"torchserve": {"modelStore": {"claim": "x"}}}, "set torchserve.modelStore.type=pvc"),
        ({"torchserve": {"modelStore": {"url": "s3://b/"}}}, "set torchserve.modelStore.type=s3"),
        (
            {"torchserve": {"service": {"type": "ClusterIP", "loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
            "set torchserve.service.type=LoadBalancer",
        ),
        ({"torchserve": {"preStopSeconds": 60}}, "set torchserve.terminationGracePeriodSeconds to more than 60"),
        (
            {"torchserve": {"models": [{"name": "a", "version": "1", "archive": f"{n}.mar"} for n in "xy"]}},
            "a@1 twice",
        ),
        (
            {
                "torchserve": {
                    "models": [{"name": "a", "version": v, "archive": f"{v}.mar", "live": True} for v in ("1", "2")]
                }
            },
            "set live on one version of a",
        ),
        (
            {
                "torchserve": {
                    "models": [{"name": n, "version": "1", "archive": f"{n}.mar", "live": True} for n in ("b", "a")]
                }
            },
            "marks a@1 and b@1 as live, and jobs that name no model could not choose: set live on one model",
        ),
        (external(gateway={}), "set gateway.store=s3://bucket/prefix/"),
        ({"gateway": {"oidc": {"issuer": "https://id.example.com"}}}, "set gateway.oidc.clientId"),
        ({"gateway": {"oidc": {"clientId": "sluice"}}}, "set gateway.oidc.issuer"),
        ({"gateway": {"oidc": {"issuer": "https://id.example.com", "clientId": "sluice"}}}, "set gateway.url"),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "set gateway.httpRoute.parentRefs"),
        (
            {"gateway": {"service": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}},
            "set gateway.service.type=LoadBalancer",
        ),
        (
            {"gateway": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}},
            "set gateway.strategy.rollingUpdate.maxSurge",
        ),
        ({"fullnameOverride": "my.rel"}, "set fullnameOverride"),
        ({"fullnameOverride": "2024-run"}, 'names would start with "2024-run"'),
        ({"nameOverride": "Photos"}, "set fullnameOverride"),
        ({"commonLabels": {"app.kubernetes.io/version": "2"}}, "remove it from commonLabels"),
        (
            {"consumer": {"podLabels": {"app.kubernetes.io/component": "mine"}}},
            "consumer.podLabels has app.kubernetes.io/component",
        ),
        ({"s3": {"podLabels": {"app.kubernetes.io/name": "mine"}}}, "remove it from s3.podLabels"),
        (
            {"metrics": {"dashboard": {"labels": {"app.kubernetes.io/instance": "x"}}}},
            "remove it from metrics.dashboard.labels",
        ),
        (
            {"torchserve": {"strategy": {"rollingUpdate": {"maxSurge": 0}}}},
            "set torchserve.strategy.rollingUpdate.maxSurge or torchserve.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            {"consumer": {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0"}}}},
            "set consumer.strategy.rollingUpdate.maxSurge or consumer.strategy.rollingUpdate.maxUnavailable",
        ),
        (
            {"extraEnv": [{"name": "TZ", "value": "UTC"}], "consumer": {"extraEnv": [{"name": "TZ", "value": "CET"}]}},
            "consumer has the environment variable TZ twice: remove it from extraEnv or consumer.extraEnv",
        ),
        (
            external(extraEnv=[{"name": "AWS_REGION", "value": "eu-north-1"}]),
            "producer has the environment variable AWS_REGION twice",
        ),
        (
            {"torchserve": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
            "torchserve has the environment variable A twice",
        ),
        (external(database={**DATABASE, "url": "mysql://me@db:port/led"}), "set it to mysql://user@host:3306/database"),
        ({"extraEnv": [{"name": "SLUICE_BATCH", "value": "1"}]}, "set config.batch"),
        ({"producer": {"extraEnv": [{"name": "SLUICE_WINDOW", "value": "1"}]}}, "set config.window"),
    ],
)
def test_a_contradiction_is_refused_with_what_to_set(values: Values, said: str) -> None:
    assert said in refusal(values)


@pytest.mark.parametrize(
    "url",
    ["mysql://me:secret@db/led", "mysql://me:a/secret@db/led", "postgres://me:secret@db/led", "me:secret@db", "secret"],
)
def test_a_password_is_not_repeated_in_the_message(url: str) -> None:
    said = refusal(external(database={**DATABASE, "url": url}))
    assert "database.url" in said
    assert "secret" not in said.replace("existingSecret", "")


def test_what_only_looks_like_one_is_taken() -> None:
    render(
        {"extraEnv": [{"name": "SLUICE_TORCHSERVE_TOKEN", "valueFrom": {"secretKeyRef": {"name": "t", "key": "t"}}}]}
    )
    render({"consumer": {"autoscaling": {"enabled": False, "minReplicas": 50}}})
    render({"consumer": {"podLabels": {"app.kubernetes.io/part-of": "photos"}}})
    render({"torchserve": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 0}}}})
    render({"torchserve": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}}})
    render(external(gateway={"enabled": False}))
    render({"fullnameOverride": "run-2024"}, release="2024-run")
    for host in ("db", "10.0.0.1:3306", "[fd00::1]:3306"):
        render(external(database={**DATABASE, "url": f"mysql://me@{host}/led"}))
    metrics = [{"type": "Pods", "pods": {}}]
    render({"torchserve": {"autoscaling": {"enabled": True, "targetCPUUtilizationPercentage": 0, "metrics": metrics}}})
