"""Schemas of values that many components have, by the key's name.

Kubernetes' own types are described two levels deep: enough to reject a typo; the API server checks the rest.
"""

from __future__ import annotations

from typing import Any, Final


def _object(*keys: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: {} for key in keys},
        **({"required": list(required)} if required else {}),
    }


def _list(of: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/definitions/{of}"}}


_NAME: Final = {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"}
_STRINGS: Final = ("commonLabels", "podLabels", "podAnnotations", "annotations", "labels", "nodeSelector")
_QUANTITIES: Final = {"type": "object", "additionalProperties": {"type": ["string", "integer", "number"]}}
_SCALING: Final = _object("stabilizationWindowSeconds", "selectPolicy", "policies", "tolerance")

DEFINITIONS: Final[dict[str, Any]] = {
    "strings": {"type": "object", "additionalProperties": {"type": "string"}},
    "named": _object("name", required=("name",)),
    "variable": _object("name", "value", "valueFrom", required=("name",)),
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES, "claims": {"type": "array"}},
    },
    "toleration": _object("key", "operator", "value", "effect", "tolerationSeconds"),
    "affinity": _object("nodeAffinity", "podAffinity", "podAntiAffinity"),
    "spread": _object(
        *("maxSkew", "topologyKey", "whenUnsatisfiable", "labelSelector", "minDomains", "matchLabelKeys"),
        *("nodeAffinityPolicy", "nodeTaintsPolicy"),
        required=("maxSkew", "topologyKey", "whenUnsatisfiable"),
    ),
    "peer": _object("podSelector", "namespaceSelector", "ipBlock"),
    "strategy": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "type": {"enum": ["RollingUpdate", "Recreate"]},
            "rollingUpdate": _object("maxSurge", "maxUnavailable"),
        },
    },
    "behavior": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"scaleUp": _SCALING, "scaleDown": _SCALING},
    },
    "model": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "version", "archive"],
        "properties": {
            "name": _NAME,
            "version": _NAME,
            "archive": {"type": "string", "pattern": "^[^/,]+[.]mar$"},
            "live": {"type": "boolean"},
        },
    },
    "metric": _object("type", "resource", "containerResource", "pods", "object", "external", required=("type",)),
}

BY_NAME: Final[dict[str, dict[str, Any]]] = {
    **{name: {"$ref": "#/definitions/strings"} for name in _STRINGS},
    **{name: {"$ref": f"#/definitions/{name}"} for name in ("resources", "affinity", "strategy", "behavior")},
    "config": {"$ref": "#/definitions/settings"},
    "imagePullSecrets": _list("named"),
    "extraEnv": _list("variable"),
    "tolerations": _list("toleration"),
    "topologySpreadConstraints": _list("spread"),
    "Peers": _list("peer"),
    "models": {**_list("model"), "minItems": 1},
    "metrics": _list("metric"),
    "registry": {"pattern": r"^([^/\s]+(/[^/\s]+)*)?$"},
    "digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "size": {"pattern": "^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti)$"},
    "maxUnavailable": {"type": ["integer", "string"]},
}
