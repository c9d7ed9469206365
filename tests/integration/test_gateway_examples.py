"""Each example in the API's description is sent to a real gateway, and answered as it is described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from sluice.ledger import Database
from tests.support.gateway_programs import ApiClient
from tools.bench.many_results import many_results
from tools.stack import Servers, Stack

TAGS = {"jobs", "results", "quarantine", "models", "feedback", "trainings"}


@pytest.fixture(scope="module")
def admin(servers: Servers) -> Iterator[ApiClient]:
    """Give an admin of a gateway where what examples name is there: job 1, object 1, the model noop@1.0."""
    servers.start()
    with Stack(servers, "examples") as stack, Database(stack.settings) as database:
        admin = ApiClient.make(database, stack.start_gateway().url, "admin", "admin")
        assert admin.post("/api/v1/jobs", json={"source": "s3://photos/2024/"}).json()["id"] == 1
        assert many_results(database, 10)[1] == 1
        yield admin


@pytest.fixture(scope="module")
def described(admin: ApiClient) -> dict[str, Any]:
    found: dict[str, Any] = admin.get("/openapi.json").json()
    return found


def example_of(described: dict[str, Any], schema: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    if "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema["examples"][0]


def test_each_operation_answers_its_example_as_described(admin: ApiClient, described: dict[str, Any]) -> None:
    asked = 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if not TAGS & set(operation.get("tags", [])):
                continue
            asked += 1
            names, query = (
                {
                    each["name"]: example_of(described, each["schema"])
                    for each in operation.get("parameters", [])
                    if each["in"] == place and each["required"]
                }
                for place in ("path", "query")
            )
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            sent: dict[str, Any] = {} if body is None else {"json": example_of(described, body["schema"])}
            sent["params"] = query
            answer = admin.ask(method.upper(), path.format(**names), **sent)
            (status,) = [code for code in operation["responses"] if code.startswith("2")]
            assert answer.status_code == int(status), f"{method} {path}: {answer.text}"
            content = operation["responses"][status]["content"]
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in content
            if kind == "application/json":
                schema = {**content[kind]["schema"], "components": described["components"]}
                jsonschema.validate(answer.json(), schema, format_checker=jsonschema.FormatChecker())
    assert asked > 10


def test_each_operation_declares_what_can_go_wrong(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if TAGS & set(operation.get("tags", [])):
                expected = {"401", "403", "429", "503"}
                if "requestBody" in operation:
                    expected |= {"400", "408", "413", "422"}
                assert expected <= operation["responses"].keys(), f"{method} {path}"


def test_texts_and_lists_of_requests_have_bounds(described: dict[str, Any]) -> None:
    unbounded = [
        f"{method} {path} {each['name']}"
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
        if TAGS & set(operation.get("tags", []))
        for each in operation.get("parameters", [])
        if each["schema"].get("type") == "string" and not {"maxLength", "enum"} & each["schema"].keys()
    ]
    assert unbounded == []
