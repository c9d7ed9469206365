"""The gateway in a cluster: NOTES lead to the page and to its admin, and pods come and go unseen."""

from __future__ import annotations

import base64
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests

from tests.cluster.releases import Release, is_ready, wait_until
from tests.cluster.values import SHARED

ASK = """\
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
connection.request("GET", "/login")
print(connection.getresponse().status)
"""


@contextmanager
def forwarded(release: Release, service: str) -> Iterator[str]:
    """Forward a Service's port to this machine, as NOTES say."""
    command = ["kubectl", f"--namespace={release.namespace}", "port-forward", f"svc/{service}", ":80"]
    with subprocess.Popen(command, env=release.tools.environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = re.match(r"Forwarding from (127\.0\.0\.1:\d+)", running.stdout.readline())
        try:
            assert said is not None
            yield f"http://{said[1]}"
        finally:
            running.terminate()


def test_the_notes_lead_to_the_page_and_its_admin(release: Release) -> None:
    """The password is read as NOTES say; strangers are sent to sign in."""
    notes = release.tools.run("helm", "get", "notes", release.name, "--namespace", release.namespace).stdout
    command = re.search(r"kubectl .* get secret .*admin-password.* \| base64 -d", notes)
    assert command
    password = release.tools.run("bash", "-c", command[0]).stdout
    with forwarded(release, "sluice-gateway") as url, requests.Session() as browser:
        browser.headers["Origin"] = url  # as a browser says
        assert requests.get(f"{url}/api/v1/jobs", timeout=30).status_code == HTTPStatus.UNAUTHORIZED
        form = browser.get(f"{url}/login", timeout=30).text
        csrf = re.search(r'name="csrf" value="([^"]*)"', form)
        assert csrf
        sent = {"csrf": csrf[1], "next": "/", "email": "admin@localhost", "password": password}
        answer = browser.post(f"{url}/login", data=sent, timeout=30, allow_redirects=False)
        assert answer.status_code == HTTPStatus.SEE_OTHER, answer.text
        photo = release.run("python", "-c", PHOTO)
        page = browser.get(f"{url}/", timeout=30)
        assert page.status_code == HTTPStatus.OK
        csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)
        files = {"file": ("a.jpg", base64.b64decode(photo), "image/jpeg")}
        shown = browser.post(f"{url}/", data={"csrf": csrf[1] if csrf else ""}, files=files, timeout=60)
        assert shown.status_code == HTTPStatus.OK, shown.text
        assert "%" in shown.text


def test_a_rolling_update_is_not_seen(changeable: Release) -> None:
    """Somebody asks the Service all the time while its pods are replaced, and is always answered."""
    first = {pod.metadata.name for pod in changeable.pods("gateway")}
    # A pod that the gateway answers.
    template = changeable.tools.apps.read_namespaced_deployment("sluice-gateway", changeable.namespace).spec.template
    labels = {**template.metadata.labels, "app.kubernetes.io/component": "gateway-test"}
    asker = changeable.tools.start_sleeper(changeable.namespace, "asker", labels, template.spec)
    within = ["kubectl", "exec", asker.metadata.name, f"--namespace={changeable.namespace}", "--", "python", "-c", ASK]
    answers: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            done = changeable.tools.run(*within, "sluice-gateway", check=False)
            answers.append(done.stdout.strip() or done.stderr[-300:])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        # The network learns of a new pod, and of what it may ask, a moment after its start.
        wait_until(lambda: "200" in answers, "a first answer")
        answers.clear()
        changeable.upgrade({**SHARED, "gateway": {**SHARED["gateway"], "signup": "open"}})
        wait_until(
            lambda: not first & {pod.metadata.name for pod in changeable.pods("gateway") if is_ready(pod)},
            "all pods are new",
        )
    finally:
        is_over.set()
        asking.join()
        changeable.tools.core.delete_namespaced_pod("asker", changeable.namespace, grace_period_seconds=0)
    assert set(answers) == {"200"}


PHOTO = """\
import base64, io
from PIL import Image
written = io.BytesIO()
Image.linear_gradient("L").convert("RGB").save(written, "JPEG")
print(base64.b64encode(written.getvalue()).decode())
"""
