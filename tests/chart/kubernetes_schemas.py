"""Schemas of Kubernetes, KEDA, the Gateway API and the Prometheus operator, from their own Go modules."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tools.cluster.pieces import KUBERNETES

Schema = dict[str, Any]

KEDA: Final = "github.com/kedacore/keda/v2@v2.21.0"
OPERATOR: Final = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
GATEWAY_API: Final = "sigs.k8s.io/gateway-api@v1.3.0"
CRDS: Final = {
    "keda.sh/v1alpha1": (KEDA, "config/crd/bases/keda.sh_{plural}.yaml"),
    "gateway.networking.k8s.io/v1": (GATEWAY_API, "config/crd/standard/gateway.networking.k8s.io_{plural}.yaml"),
    "monitoring.coreos.com/v1": (OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"),
}
TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def faults(resource: dict[str, Any]) -> list[str]:
    """Return what the API server would reject in a resource, each with its path."""
    schema, known = _schema(resource["apiVersion"], resource["kind"])
    return list(_faults(resource, schema, known, resource["kind"]))


def _faults(value: object, schema: Schema, known: Schema, at: str) -> list[str]:
    while reference := schema.get("$ref") or schema.get("allOf", [{}])[0].get("$ref"):
        schema = known[reference.rsplit("/", 1)[-1]]
    if schema.get("x-kubernetes-int-or-string") or "oneOf" in schema:
        return [] if isinstance(value, int | float | str) else [f"{at}: {value!r} is neither number nor text"]
    kind = schema.get("type")
    if kind is None:
        return []
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{at}: {value!r} is no {kind}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, list):
        items = enumerate(value)
        return [fault for n, item in items for fault in _faults(item, schema["items"], known, f"{at}[{n}]")]
    return _of_object(value, schema, known, at) if isinstance(value, dict) else []


def _of_object(value: dict[str, Any], schema: Schema, known: Schema, at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    is_free = schema.get("x-kubernetes-preserve-unknown-fields") or not (properties or others)
    for name, inner in value.items():
        if name in properties:
            found += _faults(inner, properties[name], known, f"{at}.{name}")
        elif others:
            found += _faults(inner, others, known, f"{at}.{name}")
        elif not is_free:
            found.append(f"{at}: {name} is unknown")
    return found


@cache
def _schema(version: str, kind: str) -> tuple[Schema, Schema]:
    """Return a kind's schema, and those that it refers to."""
    if version in CRDS:
        module, path = CRDS[version]
        definition = yaml.load((_module(module) / path.format(plural=f"{kind.lower()}s")).read_text(), yaml.CSafeLoader)
        (schema,) = [v["schema"] for v in definition["spec"]["versions"] if v["name"] == version.split("/")[1]]
        return schema["openAPIV3Schema"], {}
    group, _, number = version.rpartition("/")
    file = f"apis__{group}__{number}_openapi.json" if group else f"api__{number}_openapi.json"
    folder = _module(f"k8s.io/kubernetes@{KUBERNETES}") / "api" / "openapi-spec" / "v3"
    known: Schema = json.loads((folder / file).read_text())["components"]["schemas"]
    (schema,) = [s for s in known.values() if {"group": group, "kind": kind, "version": number} in _kinds(s)]
    return schema, known


def _kinds(schema: Schema) -> list[dict[str, str]]:
    found: list[dict[str, str]] = schema.get("x-kubernetes-group-version-kind", [])
    return found


@cache
def _module(module: str) -> Path:
    """Return a Go module's folder; it is fetched if scripts/cluster hasn't done that."""
    with tempfile.TemporaryDirectory() as anywhere:
        done = subprocess.run(
            ["go", "mod", "download", "-json", module],
            cwd=anywhere,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, f"{module} can't be fetched: {done.stdout}{done.stderr}"
    return Path(json.loads(done.stdout)["Dir"])
