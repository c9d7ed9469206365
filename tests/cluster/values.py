"""Values that the tests install with."""

from __future__ import annotations

from typing import Any, Final

NEXT: Final = "next"
"""The tag of the images that an upgrade goes to."""

SHARED: Final[dict[str, Any]] = {
    "torchserve": {
        "models": [
            {"name": "efficientnet-lite0", "version": "1.0", "archive": "efficientnet-lite0.mar", "live": True},
            {"name": "noop", "version": "1.0", "archive": "noop.mar", "live": False},
        ],
        # One model works at a time.
        "threads": 2,
        # kube-proxy hears of a leaving pod within a second, consumers within 6; a cloud's load balancer takes longer.
        "preStopSeconds": 10,
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    },
    # Each image is inferred: tests count them.
    "config": {"cache_entries": 0},
    "consumer": {"resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}},
    "gateway": {
        "replicas": 1,
        "resources": {"requests": {"cpu": "10m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
    },
    "producer": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}},
    "mysql": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}},
    # A release beside this one borrows its S3 server.
    "networkPolicy": {"s3Peers": [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": "broken"}}}]},
}
"""Values of the shared installation: small requests, because tests run on two cores."""
