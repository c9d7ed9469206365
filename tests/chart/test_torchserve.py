"""TorchServe: its models, where it runs, who can reach it, how it starts and stops."""

from __future__ import annotations

import re

import pytest

from sluice.inference.routes import PATIENCE
from tests.chart.rendered import EXTERNAL, PROFILES, ROOT, Rendered, Values, render

GPU = "nvidia.com/gpu"
DNS_SECONDS = 5  # how long CoreDNS caches answers about the cluster by default


def torchserve(**values: object) -> Rendered:
    """Render with values of the section torchserve."""
    return render({"torchserve": values})


def test_it_serves_the_archives_of_its_models(default: Rendered) -> None:
    assert default.pod("torchserve").main["args"] == [
        *("--models=efficientnet-lite0.mar", "--store=/models", "--port=8080")
    ]
    models = [{"name": n, "version": v, "archive": f"{n}.mar"} for n, v in (("a", "1"), ("b", "1"))]
    rendered = torchserve(models=models, workers=2, threads=3, options={"job_queue_size": 64, "x": "y z"})
    assert rendered.pod("torchserve").main["args"] == [
        *("--models=a.mar,b.mar", "--store=/models", "--port=8080", "--workers=2", "--threads=3"),
        *("--set=job_queue_size=64", "--set=x=y z"),
    ]


def test_processes_follow_from_the_cores_that_a_pod_has() -> None:
    """A limit it sees itself; a request it is told; on a GPU there is one process."""

    def told(**values: object) -> tuple[list[str], Values]:
        pod = torchserve(**values).pod("torchserve")
        return [each for each in pod.main["args"] if each.startswith(("--workers", "--cores"))], pod.env(pod.main)

    assert told() == ([], {})
    assert told(resources={"limits": {"cpu": None}, "requests": {"cpu": None}}) == ([], {})
    arguments, environment = told(resources={"limits": {"cpu": None}, "requests": {"cpu": "3"}})
    assert arguments == ["--cores=$(CORES)"]
    assert environment["CORES"]["resourceFieldRef"]["resource"] == "requests.cpu"
    assert told(gpu={"enabled": True}) == (["--workers=1"], {})
    assert told(gpu={"enabled": True}, workers=3) == (["--workers=3"], {})


def test_the_default_model_is_the_recipe_of_that_name() -> None:
    recipe = (ROOT / "model_store" / "efficientnet-lite0.toml").read_text()
    version = re.search(r'^version = "(.*)"', recipe, re.MULTILINE)
    assert version is not None
    args = render().pod("register").main["args"]
    assert args[3].endswith(f"/predictions/efficientnet-lite0/{version.group(1)}")


def test_probes_ask_for_predictions_and_are_slow_to_kill() -> None:
    container = torchserve(startupSeconds=420).pod("torchserve").main
    assert container["startupProbe"]["exec"]["command"] == ["sluice-probe", "startup"]
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] == 420
    assert container["readinessProbe"]["exec"]["command"] == ["sluice-probe", "ready"]
    live = container["livenessProbe"]
    assert live["exec"]["command"] == ["sluice-probe", "live"]
    assert live["periodSeconds"] * live["failureThreshold"] >= 180


def test_it_leaves_the_endpoints_before_it_ends() -> None:
    pod = torchserve(preStopSeconds=20, terminationGracePeriodSeconds=90).pod("torchserve")
    assert pod.main["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}
    assert pod.spec["terminationGracePeriodSeconds"] == 90
    usual = render().pod("torchserve").main["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert usual > PATIENCE.resolve_seconds + DNS_SECONDS, "consumers learn of it before the end begins"
    assert "lifecycle" not in torchserve(preStopSeconds=0).pod("torchserve").main


def test_an_upgrade_takes_none_away_before_another_is_ready() -> None:
    spec = render().get("Deployment", "sluice-torchserve")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    replaced = torchserve(strategy={"type": "Recreate"}).get("Deployment", "sluice-torchserve")["spec"]
    assert replaced["strategy"] == {"type": "Recreate"}


def test_people_reach_inference_alone() -> None:
    service = render().get("Service", "sluice-torchserve")["spec"]
    assert service["type"] == "LoadBalancer"
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(80, "inference")]
    ports = render().pod("torchserve").main["ports"]
    assert [(port["name"], port["containerPort"]) for port in ports] == [("inference", 8080)]


def test_the_load_balancer_takes_what_clouds_want() -> None:
    rendered = torchserve(
        service={
            "port": 8443,
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"},
            "loadBalancerClass": "service.k8s.aws/nlb",
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "externalTrafficPolicy": "Local",
        }
    ).get("Service", "sluice-torchserve")
    assert rendered["metadata"]["annotations"] == {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}
    spec = rendered["spec"]
    assert spec["loadBalancerClass"] == "service.k8s.aws/nlb"
    assert spec["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert spec["externalTrafficPolicy"] == "Local"
    assert spec["ports"][0]["port"] == 8443


def test_without_a_load_balancer_nothing_of_one_is_said() -> None:
    spec = torchserve(service={"type": "ClusterIP"}).get("Service", "sluice-torchserve")["spec"]
    assert set(spec) == {"type", "selector", "ports"}


def test_consumers_ask_the_pods_that_are_ready() -> None:
    rendered = render()
    service = rendered.get("Service", "sluice-torchserve-pods")["spec"]
    assert service["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in service
    assert rendered.pod("consumer").env()["SLUICE_TORCHSERVE"] == "http://sluice-torchserve-pods.sluice.svc:8080"


def test_archives_come_from_a_claim(default: Rendered) -> None:
    assert "models" not in {mount["name"] for mount in default.pod("torchserve").main["volumeMounts"]}
    pod = render(PROFILES["models in a volume"]).pod("torchserve")
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in pod.main["volumeMounts"]
    (volume,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "models"]
    assert volume["persistentVolumeClaim"] == {"claimName": "archives", "readOnly": True}


def test_archives_come_from_s3_each_fetched_before_the_start() -> None:
    models = [{"name": n, "version": "1", "archive": f"{n}.mar"} for n in "ab"]
    store: Values = {"type": "s3", "url": "s3://models/live"}
    rendered = render({**EXTERNAL, "torchserve": {"models": models, "modelStore": store}})
    pod = rendered.pod("torchserve")
    assert [container["args"] for container in pod.spec["initContainers"]] == [
        ["sluice", "models", "fetch", f"s3://models/live/{name}.mar", "/models"] for name in "ab"
    ]
    assert pod.spec["serviceAccountName"] == "sluice", "the role that may read the bucket"
    for container in pod.spec["initContainers"]:
        assert pod.env(container)["SLUICE_S3_REGION"] == "eu-central-1"
        assert container["image"].startswith("sluice:")


def test_a_cpu_cluster_hears_nothing_of_gpus(default: Rendered) -> None:
    pod = default.pod("torchserve")
    assert "gpu" not in str(pod.spec)
    assert not {"tolerations", "nodeSelector", "runtimeClassName"} & set(pod.spec)


def test_on_gpus_it_goes_where_they_are_and_others_do_not() -> None:
    rendered = torchserve(
        nodeSelector={"kubernetes.io/arch": "amd64"},
        tolerations=[{"key": "mine", "operator": "Exists"}],
        gpu={"enabled": True, "count": 2, "runtimeClassName": "nvidia", "nodeSelector": {"pool": "gpu"}},
    )
    pod = rendered.pod("torchserve")
    for side in ("requests", "limits"):
        assert pod.main["resources"][side][GPU] == 2
        assert pod.main["resources"][side]["memory"], "beside what it needs anyway"
    assert pod.spec["nodeSelector"] == {"kubernetes.io/arch": "amd64", "pool": "gpu"}
    assert {toleration["key"] for toleration in pod.spec["tolerations"]} == {GPU, "mine"}
    assert pod.spec["runtimeClassName"] == "nvidia"
    for other in rendered.pods:
        if other.component != "torchserve":
            assert "gpu" not in str(other.spec)
            assert "tolerations" not in other.spec


def test_another_kind_of_gpu_has_another_name() -> None:
    pod = torchserve(gpu={"enabled": True, "resource": "amd.com/gpu"}).pod("torchserve")
    assert pod.main["resources"]["limits"]["amd.com/gpu"] == 1
    assert GPU not in pod.main["resources"]["limits"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "sluice-torchserve:0.1.0"),
        ({"registry": "r.example.com"}, "r.example.com/sluice-torchserve:0.1.0"),
        ({"repository": "mine/ts", "tag": "9"}, "mine/ts:9"),
        ({"digest": f"sha256:{'a' * 64}", "tag": "9"}, f"sluice-torchserve@sha256:{'a' * 64}"),
    ],
)
def test_an_image_is_named_by_registry_repository_and_tag_or_digest(image: Values, expected: str) -> None:
    assert torchserve(image=image).pod("torchserve").main["image"] == expected


def test_one_registry_is_enough_for_all_images() -> None:
    rendered = render({"image": {"registry": "sluice.local"}, "imagePullSecrets": [{"name": "pull"}]})
    images = {container["image"] for pod in rendered.pods for container in pod.containers}
    names = ("sluice", "sluice-torchserve", "sluice-mariadb", "sluice-versitygw")
    assert images == {f"sluice.local/{name}:0.1.0" for name in names}
    assert all(pod.spec["imagePullSecrets"] == [{"name": "pull"}] for pod in rendered.pods)


def test_no_load_balancer_is_told_to_ask_for_a_page_that_is_not_there(default: Rendered) -> None:
    (port,) = default.get("Service", "sluice-torchserve")["spec"]["ports"]
    assert "appProtocol" not in port


def test_a_role_is_for_fetching_archives_and_not_for_the_server_that_runs_them() -> None:
    def annotations(values: Values) -> Values:
        template = render(values).get("Deployment", "sluice-torchserve")["spec"]["template"]
        found: Values = template["metadata"].get("annotations", {})
        return found

    store = {"modelStore": {"type": "s3", "url": "s3://images/models/"}}
    skipped = {"eks.amazonaws.com/skip-containers": "torchserve"}
    assert annotations({**EXTERNAL, "torchserve": store}) == skipped
    assert annotations({**EXTERNAL, "torchserve": {**store, "podAnnotations": {"a": "b"}}}) == {"a": "b", **skipped}
    assert annotations({"torchserve": store}) == {}
    assert annotations(EXTERNAL) == {}


def test_an_agent_loads_what_is_published() -> None:
    """It has the database's password and the bucket's account; the code of models has neither, nor the agent's home."""
    assert len(render().pod("torchserve").containers) == 1
    rendered = render({"models": {"store": "s3://images/store/"}, "torchserve": {"workers": 2}})
    pod = rendered.pod("torchserve")
    main, agent = pod.containers
    assert "--agent" in main["args"]
    assert agent["args"] == ["python", "-m", "handlers.agent"]
    told = pod.env(agent)
    assert (told["SLUICE_MODEL_STORE"], told["SLUICE_AGENT_WORKERS"]) == ("s3://images/store/", "2")
    chosen = render({"models": {"store": "s3://images/store/"}}).pod("torchserve")
    assert "SLUICE_AGENT_WORKERS" not in chosen.env(chosen.containers[1])
    assert {"SLUICE_DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY"} <= told.keys()
    assert pod.env(main) == {}
    mounts = {
        container["name"]: {m["name"]: m["mountPath"] for m in container["volumeMounts"]} for container in (main, agent)
    }
    assert mounts["torchserve"]["tmp"] == "/tmp"
    assert told["SLUICE_AGENT_FOLDER"].startswith(mounts["agent"]["tmp"])
    assert mounts["agent"]["agent-tmp"] == "/tmp"
    assert agent["readinessProbe"]["httpGet"]["path"] == "/ready"
    for other in ("producer", "consumer", "gateway"):
        assert rendered.pod(other).env()["SLUICE_MODEL_STORE"] == "s3://images/store/"
    assert "SLUICE_MODEL_STORE" not in render().pod("consumer").env()
