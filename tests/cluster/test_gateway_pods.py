"""The gateway in a cluster: NOTES lead to the page and to its admin, and pods come and go unseen."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import requests

from tests.cluster.releases import Release, is_ready, wait_until
from tests.cluster.values import SHARED

ASK = """\
import http.client, time
while True:
    try:
        connection = http.client.HTTPConnection("sluice-gateway", timeout=20)
        connection.request("GET", "/login")
        print(connection.getresponse().status, flush=True)
    except (OSError, http.client.HTTPException) as error:
        print(repr(error), flush=True)
    time.sleep(0.2)
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


def test_a_rolling_update_is_not_seen(changeable: Release, tmp_path: Path) -> None:
    """Somebody asks the Service all the time while its pods are replaced, and is always answered."""
    first = {pod.metadata.name for pod in changeable.pods("gateway")}
    # A pod that the gateway answers.
    template = changeable.tools.apps.read_namespaced_deployment("sluice-gateway", changeable.namespace).spec.template
    labels = {**template.metadata.labels, "app.kubernetes.io/component": "gateway-test"}
    changeable.tools.start_sleeper(changeable.namespace, "asker", labels, template.spec)
    within = ["kubectl", "exec", "asker", f"--namespace={changeable.namespace}", "--", "python", "-c", ASK]
    told = tmp_path / "answers"

    def answers() -> list[str]:
        return told.read_text().split("\n")[:-1]

    with (
        told.open("w") as file,
        subprocess.Popen(within, env=changeable.tools.environment, stdout=file, stderr=file) as asking,
    ):
        try:
            # The network learns of a new pod, and of what it may ask, a moment after its start.
            wait_until(lambda: "200" in answers(), "a first answer")
            before = len(answers())
            changeable.upgrade({**SHARED, "gateway": {**SHARED["gateway"], "signup": "open"}}, hooks=False)
            wait_until(
                lambda: not first & {pod.metadata.name for pod in changeable.pods("gateway") if is_ready(pod)},
                "all pods are new",
            )
            assert asking.poll() is None, answers()[-1:]
        finally:
            asking.terminate()
            changeable.tools.core.delete_namespaced_pod("asker", changeable.namespace, grace_period_seconds=0)
    assert set(answers()[before:]) == {"200"}


PHOTO = """\
import base64, io
from PIL import Image
written = io.BytesIO()
Image.linear_gradient("L").convert("RGB").save(written, "JPEG")
print(base64.b64encode(written.getvalue()).decode())
"""
