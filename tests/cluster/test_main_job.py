"""The main job: images arrive while it runs, and TorchServe is open to people for predictions only."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from tests.cluster.releases import Release

IMAGES = 2000
PIECES = 4


def test_images_that_arrive_while_it_runs_have_one_row_each(release: Release) -> None:
    """2,000 images are added to the bucket of a running job: one row each."""
    job = release.submit("s3://images/main/", "--model", "noop@1.0", "--watch", "--watch-seconds", "2")
    for piece in range(PIECES):
        release.upload("main", 10_000 + piece * IMAGES // PIECES, IMAGES // PIECES)
    release.wait_done(job, IMAGES, seconds=600)
    release.check([job], IMAGES)
    release.run("sluice", "jobs", "cancel", str(job))


def test_only_predictions_are_reached_from_outside(release: Release) -> None:
    """TorchServe's management, metrics and gRPC ports are closed at the load balancer and on the pod's network."""
    service = release.tools.core.read_namespaced_service("sluice-torchserve", release.namespace)
    assert [port.port for port in service.spec.ports] == [80]
    outside = release.address.removeprefix("http://")
    pod = release.pods("torchserve")[0].status.pod_ip
    assert is_open(outside, 80)
    closed = (8080, 8081, 8082, 7070, 7071)
    # All at once: a packet that nobody answers costs two seconds.
    with ThreadPoolExecutor(len(closed)) as threads:
        assert not any(threads.map(lambda port: is_open(outside, port), closed))
    for port in (8081, 8082, 7070, 7071):
        assert release.run("python", "-c", KNOCK, pod, str(port)).strip() == "closed"


def is_open(host: str, port: int) -> bool:
    """Return whether a connection is accepted."""
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True


KNOCK = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
    print("open")
except OSError:
    print("closed")
"""
