"""Generates charts/sluice/values.schema.json and the table in its README.md from values.yaml; a test compares them.

In values.yaml a line `# --` above a key describes it; `# @schema` below that adds what the default can't show, as a
JSON schema in YAML's flow style without the outer braces. A key without `# --` is a section.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from sluice.settings import Settings
from tools.chart.schemas import BY_NAME, DEFINITIONS

CHART: Final = Path(__file__).parents[2] / "charts" / "sluice"
MARK: Final = "<!-- made by `python -m tools.chart.values`; a test compares -->\n"
TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}

# Settings that templates write themselves, from values of their own or from the pod's role.
OWNED: Final = frozenset(
    {
        *("database_url", "database_password", "database_ca"),
        *("s3_endpoint", "s3_region", "s3_role", "s3_profile"),
        *("bind", "shard", "shards", "producers", "torchserve", "torchserve_token", "drain_seconds", "name"),
        *("curve_key", "curve_server", "curve_clients", "metrics_host", "metrics_port"),
        *("gateway_bind", "gateway_store", "gateway_keep_days", "gateway_url", "gateway_key", "gateway_anonymous"),
        *("gateway_admin", "gateway_admin_password", "gateway_signup", "gateway_classic", "gateway_sources"),
        *("gateway_proxies",),
        *("gateway_oidc_issuer", "gateway_oidc_client", "gateway_oidc_secret"),
    }
)


@dataclass
class Value:
    """One key of values.yaml."""

    path: tuple[str, ...]
    default: Any
    said: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    inner: list[Value] = field(default_factory=list)


def read_values(text: str) -> list[Value]:
    """Read the keys with their comments."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return _read_section(root, text.splitlines(), ())


def make_schema(values: list[Value]) -> str:
    """Write the schema; it rejects keys that aren't in values.yaml."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart sluice",
        **_section(values),
        "definitions": {**DEFINITIONS, "settings": _settings()},
    }
    # Helm adds it, for values that parent charts share.
    schema["properties"]["global"] = {"type": "object"}
    return json.dumps(schema, indent=2) + "\n"


def make_table(values: list[Value]) -> str:
    """Write the table of README.md."""
    rows = ["| value | default | what it sets |", "| --- | --- | --- |"]
    for value in leaves(values):
        default = yaml.safe_dump(value.default, default_flow_style=True, width=10**6, sort_keys=False)
        shown = default.removesuffix("\n").removesuffix("...").rstrip().replace("|", "\\|")
        said = value.said.replace("|", "\\|")
        rows.append(f"| `{'.'.join(value.path)}` | {'' if value.default == '' else f'`{shown}`'} | {said} |")
    return "\n".join(rows) + "\n"


def make_readme(old: str, values: list[Value]) -> str:
    """Replace the table at the end of the page."""
    return f"{old.partition(MARK)[0]}{MARK}\n{make_table(values)}"


def _read_section(node: Any, lines: list[str], path: tuple[str, ...]) -> list[Value]:  # noqa: ANN401 - nodes are untyped
    found = []
    for key, inner in node.value:
        value = Value((*path, key.value), yaml.SafeLoader("").construct_document(inner))
        comment = _comment_above(lines, key.start_mark.line)
        said = [line for line in comment if not line.startswith("@schema")]
        if said and said[0].startswith("-- "):
            value.said = " ".join(said).removeprefix("-- ")
            annotations = [line.removeprefix("@schema ") for line in comment if line.startswith("@schema")]
            value.schema = yaml.safe_load("{" + ", ".join(annotations) + "}")
        elif isinstance(value.default, dict):
            value.inner = _read_section(inner, lines, value.path)
        else:
            raise ValueError(f"values.yaml: {'.'.join(value.path)} has no line `# --`")
        found.append(value)
    return found


def _comment_above(lines: list[str], line: int) -> list[str]:
    comment: list[str] = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        comment.insert(0, lines[line].strip().removeprefix("#").strip())
    # A section's heading may be above its first key's comment.
    starts = [number for number, text in enumerate(comment) if text.startswith("-- ")]
    return comment[starts[-1] :] if starts else comment


def leaves(values: list[Value]) -> list[Value]:
    """Return the values that have a comment of their own."""
    return [leaf for value in values for leaf in (leaves(value.inner) if value.inner else [value])]


def _section(values: list[Value]) -> dict[str, Any]:
    properties = {value.path[-1]: _section(value.inner) if value.inner else _leaf(value) for value in values}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _leaf(value: Value) -> dict[str, Any]:
    name = value.path[-1]
    known = BY_NAME.get("Peers" if name.endswith("Peers") else name, {})
    guess = {} if "$ref" in known else {"type": TYPES[type(value.default)]}
    return {"description": value.said, **guess, **known, **value.schema}


def _settings() -> dict[str, Any]:
    """Return the settings that users may set, as pydantic describes them."""
    properties = {}
    for name, described in Settings.model_json_schema()["properties"].items():
        if name in OWNED:
            continue
        # Unset values are omitted from the map, so nothing here is null.
        (kind, *_) = described.get("anyOf", [described])
        wanted = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        properties[name] = {
            "description": described["description"],
            **{key: kind[key] for key in wanted if key in kind},
        }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def main() -> None:
    """Write both files."""
    values = read_values((CHART / "values.yaml").read_text())
    (CHART / "values.schema.json").write_text(make_schema(values))
    readme = CHART / "README.md"
    readme.write_text(make_readme(readme.read_text(), values))


if __name__ == "__main__":
    main()
