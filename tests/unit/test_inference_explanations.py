"""TorchServe's answer to a request for an explanation, read strictly."""

from __future__ import annotations

import base64
import json

import pytest

from sluice.errors import EndpointDown
from sluice.inference import Explanation, Refusal
from sluice.inference.wire import explanation_path, parse_explanation
from tests.support.consumer_fakes import model


def said(**changes: object) -> bytes:
    whole = {
        "model": "fake@1",
        "digest": "d" * 64,
        "label": "label 7",
        "class": 7,
        "score": 0.5,
        "rows": 2,
        "columns": 3,
        "map": base64.b64encode(bytes(range(6))).decode(),
    }
    return json.dumps({name: value for name, value in {**whole, **changes}.items() if value is not None}).encode()


def test_an_explanation_is_its_class_and_its_parts() -> None:
    assert parse_explanation(said(), model()) == Explanation(7, 0.5, 2, 3, bytes(range(6)))
    assert explanation_path(model()) == "/explanations/fake/1"


def test_a_model_that_cannot_say_is_no_outage() -> None:
    body = json.dumps({"model": "fake@1", "digest": "d" * 64, "error": "no feature maps"}).encode()
    assert parse_explanation(body, model()) == Refusal("no feature maps")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (said(digest="e" * 64), "another archive"),
        (said(**{"class": 256}), "label 256"),
        (said(score=1.5), "score 1.5"),
        (said(rows=3), "3 rows of 3 and 6 parts"),
        (said(map="no base64"), "can't be read"),
        (b"[]", "can't be read"),
        (json.dumps({"model": "fake@1", "digest": "d" * 64, "predictions": []}).encode(), "before there were expl"),
    ],
)
def test_anything_else_is_no_explanation(body: bytes, words: str) -> None:
    with pytest.raises(EndpointDown, match=words):
        parse_explanation(body, model())
