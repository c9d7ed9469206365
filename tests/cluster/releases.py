"""Tools for tests of the cluster: helm and the Kubernetes API, on the cluster that KUBECONFIG names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import kubernetes
from kubernetes.client import ApiException, V1Pod, V1PodSpec

from tests.cluster.questions import PodQueries

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts/sluice"
WAIT_SECONDS: Final = 240.0
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
INSTANCE: Final = "app.kubernetes.io/instance"


def wait_until(is_so: Callable[[], object], what: str, seconds: float = WAIT_SECONDS, pause: float = 0.5) -> None:
    """Wait until a condition holds; if it doesn't in time, fail with `what`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not in {seconds:.0f} s: {what}"
        time.sleep(pause)


class Tools:
    """A cluster's API clients, and helm."""

    def __init__(self, kubeconfig: str, programs: str = "") -> None:
        self.environment = {**os.environ, "KUBECONFIG": kubeconfig}
        if programs:
            self.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        kubernetes.config.load_kube_config(kubeconfig)
        self.core = kubernetes.client.CoreV1Api()
        self.apps = kubernetes.client.AppsV1Api()
        self.scaling = kubernetes.client.AutoscalingV2Api()

    def run(self, *command: str, words: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run helm, kubectl or another program, with `words` as its input."""
        done = subprocess.run(
            command, env=self.environment, input=words, capture_output=True, text=True, check=False, timeout=900
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """Create a namespace that enforces the restricted standard, and delete it at the end."""
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        body = {"metadata": {"name": name, "labels": labels}}
        self.clear_namespace(name)
        self.core.create_namespace(body)
        try:
            yield name
        finally:
            self.delete_namespace(name)

    def start_sleeper(
        self, namespace: str, name: str, labels: dict[str, str], like: V1PodSpec, *, configured: bool = False
    ) -> V1Pod:
        """Start a pod that only sleeps, like another but without limits; return it once it is ready."""
        other = like.containers[0]
        container = {
            "name": other.name,
            "image": other.image,
            "args": ["sleep", "infinity"],
            "securityContext": other.security_context,
        }
        if configured:
            requests = {"requests": other.resources.requests}
            container |= {"env": other.env, "resources": requests, "volumeMounts": other.volume_mounts}
        spec = {
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "securityContext": like.security_context,
            "terminationGracePeriodSeconds": 0,
            "volumes": like.volumes if configured else [],
            "containers": [container],
        }
        self.core.create_namespaced_pod(namespace, {"metadata": {"name": name, "labels": labels}, "spec": spec})
        wait_until(lambda: is_ready(self.core.read_namespaced_pod(name, namespace)), f"{name} is ready")
        return self.core.read_namespaced_pod(name, namespace)

    def clear_namespace(self, name: str) -> None:
        """Make sure that a namespace doesn't exist."""
        self.delete_namespace(name)
        wait_until(lambda: name not in self._namespaces(), f"namespace {name} is gone")

    def delete_namespace(self, name: str) -> None:
        """Delete a namespace with everything in it, if it exists, without waiting."""
        try:
            self.core.delete_namespace(name, grace_period_seconds=0)
        except ApiException as error:
            if error.status != 404:
                raise

    def _namespaces(self) -> set[str]:
        return {each.metadata.name for each in self.core.list_namespace().items}


class Release:
    """One installation of the chart, and a pod in its namespace that runs commands."""

    def __init__(self, tools: Tools, namespace: str, images: dict[str, object], name: str = "sluice") -> None:
        self.tools = tools
        self.namespace = namespace
        self.name = name
        self.images = images
        self._within = ["kubectl", "exec", "--stdin", self.loader, f"--namespace={namespace}", "--"]
        self._queries = PodQueries(self._within, tools.environment)

    def helm(self, *words: str, values: dict[str, Any] | None = None, check: bool = True) -> str:
        """Run a helm command on this release; return its output."""
        command = ["helm", words[0], self.name, *words[1:], "--namespace", self.namespace]
        if values is not None:
            command += ["--values", self._write(values)]
        done = self.tools.run(*command, check=check)
        return done.stdout + done.stderr

    def deploy(self, values: dict[str, Any], *options: str, check: bool = True) -> str:
        """Install or upgrade with scripts/deploy, as the workflow does; return its output."""
        names = ["--release", self.name, "--namespace", self.namespace]
        done = self.tools.run(
            str(ROOT / "scripts/deploy"), *names, "--values", self._write(values), *options, check=check
        )
        return done.stdout + done.stderr

    def _write(self, values: dict[str, Any]) -> str:
        """Write a file of values, and return its path."""
        file = Path(self.tools.environment["KUBECONFIG"]).with_name(f"values-{self.name}.json")
        file.write_text(json.dumps({"image": self.images, **values}))
        return str(file)

    def install(self, values: dict[str, Any] | None = None, timeout: str = "4m", chart: Path = CHART) -> str:
        """Install, and wait until everything is ready."""
        return self.helm("install", str(chart), "--wait", f"--timeout={timeout}", values=values or {})

    def upgrade(self, values: dict[str, Any], *, wait: bool = True, hooks: bool = True, check: bool = True) -> str:
        """Upgrade, also what was scaled meanwhile, and optionally wait until everything is ready.

        The hooks register models, which takes a while: they can be left out if the models are the same.
        """
        options = ["--timeout=6m", "--force-conflicts"]
        options += [*(["--wait"] if wait else []), *([] if hooks else ["--no-hooks"])]
        return self.helm("upgrade", str(CHART), *options, values=values, check=check)

    @property
    def manifest(self) -> str:
        """Return the manifest that helm applied, without hooks."""
        return self.tools.run("helm", "get", "manifest", self.name, "--namespace", self.namespace).stdout

    # Its state

    def pods(self, component: str = "") -> list[V1Pod]:
        """Return the pods of a component (default: of all) that aren't terminating."""
        selector = f"{INSTANCE}={self.name}" + (f",{COMPONENT}={component}" if component else "")
        found = self.tools.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]

    def ready(self, component: str) -> int:
        """Return how many pods of a component are ready."""
        return sum(is_ready(pod) for pod in self.pods(component))

    def wait_ready(self, **wanted: int) -> None:
        """Wait until exactly so many pods of each component exist, and are ready."""
        for component, count in wanted.items():
            wait_until(
                lambda component=component, count=count: (  # type: ignore[misc]
                    len(self.pods(component)) == count == self.ready(component)
                ),
                f"{count} ready pods of {component}",
            )

    def scale(self, component: str, count: int) -> None:
        """Scale a Deployment as a person would."""
        name = f"deploy/{self.name}-{component}"
        self.tools.run("kubectl", "scale", name, f"--replicas={count}", f"--namespace={self.namespace}")

    def restarts(self) -> dict[str, int]:
        """Return the pods whose containers were restarted."""
        counts = {
            pod.metadata.name: sum(status.restart_count for status in pod.status.container_statuses or [])
            for pod in self.pods()
        }
        return {name: count for name, count in counts.items() if count}

    def logs(self, pod: str) -> str:
        """Return a pod's log."""
        return str(self.tools.core.read_namespaced_pod_log(pod, self.namespace))

    def events(self) -> str:
        """Return the namespace's events as text."""
        return "\n".join(str(event.message) for event in self.tools.core.list_namespaced_event(self.namespace).items)

    def metric(self, component: str, name: str, having: str = "") -> float:
        """Return a metric, summed over a component's pods."""
        total = 0.0
        for pod in self.pods(component):
            for line in self.metrics(pod.metadata.name):
                key, _, value = line.rpartition(" ")
                if key.partition("{")[0] == name and having in key:
                    total += float(value)
        return total

    def metrics(self, pod: str, *, check: bool = True) -> list[str]:
        """Return the lines of a pod's metrics; none if that isn't checked and it doesn't answer."""
        ask = self.tools.core.connect_get_namespaced_pod_proxy_with_path
        try:
            # As it is: the client would take it for JSON.
            answer = ask(f"{pod}:9100", self.namespace, "metrics", _preload_content=False)
        except ApiException:
            if check:
                raise
            return []
        return str(answer.data.decode()).splitlines()

    # Its use

    @property
    def address(self) -> str:
        """Return the address where people reach TorchServe."""
        service = self.tools.core.read_namespaced_service(f"{self.name}-torchserve", self.namespace)
        return f"http://{service.status.load_balancer.ingress[0].ip}"

    def start_loader(self) -> None:
        """Start a pod with the consumers' environment, which no test deletes."""
        template = self.tools.apps.read_namespaced_deployment(f"{self.name}-consumer", self.namespace).spec.template
        labels = {NAME: "sluice", INSTANCE: self.name, COMPONENT: "test"}
        self.tools.start_sleeper(self.namespace, self.loader, labels, template.spec, configured=True)

    @property
    def loader(self) -> str:
        """Return the pod that commands run in."""
        return f"{self.name}-loader"

    def run(self, *command: str, words: str = "", check: bool = True) -> str:
        """Run a command in the loader; return its output."""
        done = self.tools.run(*self._within, *command, words=words, check=check)
        return done.stdout

    def sql(self, statement: str) -> list[list[str]]:
        """Query the database, as a user would."""
        return self._queries.ask(statement)

    def upload(self, prefix: str, first: int, count: int) -> None:
        """Make so many different photos, and upload them to the bucket."""
        self.run("python", "-c", MAKE, str(first), str(count))
        self.run("sluice", "upload", f"/tmp/photos-{first}", f"s3://images/{prefix}/")

    def submit(self, *words: str) -> int:
        """Submit a job; return its number."""
        return int(self.run("sluice", "submit", *words).split()[-1])

    def try_submit(self, *words: str) -> list[int]:
        """Submit a job; return its number, or nothing if the database is away."""
        return [int(number) for number in self.run("sluice", "submit", *words, check=False).split()[-1:]]

    def progress(self, job: int) -> dict[str, str]:
        """Return a job's row of `job_progress`."""
        columns = ("state", "listed", "pending", "done", "quarantined", "message")
        row = self.sql(f"SELECT {', '.join(columns)} FROM job_progress WHERE job = {job}")[0]
        return dict(zip(columns, row, strict=True))

    def wait_done(self, job: int, count: int, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a job has so many predictions."""
        wait_until(lambda: self.progress(job)["done"] == str(count), f"{count} done of job {job}", seconds)

    def check(self, jobs: Sequence[int], photos: int, repeats: int = 1) -> None:
        """Check that each job has every photo `repeats` times, nothing quarantined, and no broken invariant."""
        among = is_among(jobs)
        assert self.sql(f"SELECT SUM(quarantined) FROM job_progress WHERE {among}") == [["0"]]
        often = f"SELECT COUNT(*) AS rows_of_one FROM results WHERE {among} GROUP BY job, url"
        rows = self.sql(f"SELECT COUNT(*), MIN(rows_of_one), MAX(rows_of_one) FROM ({often}) AS counted")
        assert rows == [[str(photos * len(jobs)), str(repeats), str(repeats)]]
        self.run("sluice", "check")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queries.close()
        self.helm("uninstall", "--ignore-not-found", check=False)
        # Without a grace period.
        pods = ["pods", f"--selector={INSTANCE}={self.name}", f"--namespace={self.namespace}"]
        self.tools.run("kubectl", "delete", *pods, "--grace-period=0", "--force", check=False)


def is_among(jobs: Sequence[int]) -> str:
    """Return the condition that a row is of one of these jobs."""
    return f"job IN ({', '.join(str(job) for job in jobs)})"


def is_ready(pod: V1Pod) -> bool:
    """Return whether a pod is ready."""
    conditions: Sequence[Any] = pod.status.conditions or []
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)


MAKE: Final = """\
import os, sys
import numpy as np
from PIL import Image
first, count = int(sys.argv[1]), int(sys.argv[2])
os.makedirs(f"/tmp/photos-{first}", exist_ok=True)
for number in range(first, first + count):
    colours = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(colours).resize((400, 300), Image.Resampling.BICUBIC).save(f"/tmp/photos-{first}/{number}.jpg")
"""
