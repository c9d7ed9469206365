"""Values that the tests install with."""

from __future__ import annotations

from typing import Any, Final

NEXT: Final = "next"
"""The image tag for upgrades."""

SHARED: Final[dict[str, Any]] = {
    "torchserve": {
        # What many pods start with: no network, and one process (test_quickstart has the chart's own values).
        "models": [{"name": "noop", "version": "1.0", "archive": "noop.mar", "live": True}],
        "workers": 1,
        "threads": 2,
        # kube-proxy notices a terminating pod within a second, consumers within 6; a cloud's load balancer takes
        # longer.
        "preStopSeconds": 10,
        # Another release, with the chart's own requests, fits beside this one on a node of two cores.
        "resources": {"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
        "agent": {"resources": {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}},
    },
    # An agent is in each of TorchServe's pods; a trainer only where a test scales it up, as KEDA would.
    "models": {"store": "s3://images/store/"},
    "trainer": {
        "enabled": True,
        "replicas": 0,
        "resources": {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}},
    },
    # Tests count inferences, so each image must be inferred; and requests, of which small ones make many.
    "config": {"cache_entries": 0, "batch": 8},
    # There is always work in every part, but it leaves CPU time for the pods that start meanwhile.
    "consumer": {
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "1Gi"}}
    },
    "gateway": {
        "replicas": 1,
        "resources": {"requests": {"cpu": "10m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
    },
    "producer": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}},
    "mysql": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}},
    # Another release uses the S3 server of this one.
    "networkPolicy": {"s3Peers": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "broken"}}}]},
}
"""Values of the shared installation: small requests, because tests run on two cores."""
