from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlers.architectures import Noop, build
from handlers.sluice_handler import SluiceHandler
from sluice.images import BATCH_TYPE, CARD_TYPE, NO_WEIGHTS, CardError, decode, digest_of, pack
from tests.support.corpus import SPEC, photo, saved
from tests.support.model_archives import signed

LABELS = [f"label {number}" for number in range(1000)]
DIGEST = digest_of("noop", NO_WEIGHTS, SPEC.to_dict(), LABELS)


class Context:
    """The part of TorchServe's context that a handler uses."""

    def __init__(self, folder: Path, content_types: Sequence[str | None] = ()) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.content_types = content_types
        self.explained: set[int] = set()
        self.statuses: dict[int, tuple[int, str]] = {}
        self.response_types: dict[int, str] = {}

    def get_request_header(self, index: int, name: str) -> str | None:
        if name == "explain":
            return "True" if index in self.explained else None
        return self.content_types[index] if name == "Content-Type" else None

    def set_response_content_type(self, index: int, value: str) -> None:
        self.response_types[index] = value

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = (code, phrase)


def write_archive(folder: Path, weights: dict[str, Any] | None = None, **changes: object) -> None:
    """Write an unpacked archive; `changes` are applied after the digest is made."""
    folder.mkdir(exist_ok=True)
    card = {
        "name": "noop",
        "version": "1.0",
        "architecture": "noop",
        "weights": weights,
        "preprocessing": SPEC.to_dict(),
        "labels": LABELS,
    }
    (folder / "model.json").write_text(json.dumps({**signed(card), **changes}))


@pytest.fixture
def handler(tmp_path: Path) -> SluiceHandler:
    write_archive(tmp_path)
    made = SluiceHandler()
    made.initialize(Context(tmp_path))
    return made


def ask(handler: SluiceHandler, *requests: tuple[dict[str, Any], str | None]) -> tuple[list[Any], Context]:
    context = Context(Path(), [content_type for _, content_type in requests])
    answers = handler.handle([row for row, _ in requests], context)
    return [json.loads(answer) for answer in answers], context


def noise(count: int, seed: int = 1) -> list[Any]:
    dice = np.random.default_rng(seed)
    return [dice.integers(0, 256, (224, 224, 3)).astype(np.uint8) for _ in range(count)]


def test_a_packed_batch_gets_ten_numbered_classes_an_image(handler: SluiceHandler) -> None:
    (answer,), context = ask(handler, ({"body": pack(noise(3))}, BATCH_TYPE))
    assert (answer["model"], answer["digest"]) == ("noop@1.0", DIGEST)
    assert [len(top) for top in answer["predictions"]] == [10, 10, 10]
    for top in answer["predictions"]:
        scores = [score for _, score in top]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= number < 1000 and score == round(score, 6) for number, score in top)
    assert context.statuses == {}
    assert context.response_types == {0: "application/json"}


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "image/jpeg", "image/png"])
def test_a_file_gets_ten_readable_labels(handler: SluiceHandler, content_type: str | None) -> None:
    (answer,), _ = ask(handler, ({"body": bytearray(saved(photo(), "JPEG"))}, content_type))
    assert len(answer) == 10
    assert set(answer) <= set(LABELS)
    assert list(answer.values()) == sorted(answer.values(), reverse=True)


def test_a_form_field_is_a_file_too(handler: SluiceHandler) -> None:
    data = bytearray(saved(photo(), "JPEG"))
    (by_form, by_body), _ = ask(handler, ({"data": data}, "multipart/form-data; boundary=x"), ({"body": data}, None))
    assert by_form == by_body


def test_packed_and_plain_agree_on_the_same_photo(handler: SluiceHandler) -> None:
    data = saved(photo(), "JPEG")
    packed = pack([decode(data, SPEC, 10**8)])
    (numbered, named), _ = ask(handler, ({"body": packed}, BATCH_TYPE), ({"body": bytearray(data)}, None))
    assert {LABELS[number]: score for number, score in numbered["predictions"][0]}.items() <= named.items()


def test_requests_of_one_server_side_batch_share_one_forward_pass(
    handler: SluiceHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    forward = handler.model.network.forward

    def counting(images: torch.Tensor) -> torch.Tensor:
        passes.append(len(images))
        outputs: torch.Tensor = forward(images)
        return outputs

    monkeypatch.setattr(handler.model.network, "forward", counting)
    images = noise(5)
    requests = [({"body": pack(images[:2])}, BATCH_TYPE), ({"body": pack(images[2:])}, BATCH_TYPE)]
    together, _ = ask(handler, *requests)
    assert passes == [5]
    alone = [ask(handler, request)[0][0] for request in requests]
    assert together == alone


def test_one_bad_request_fails_alone(handler: SluiceHandler) -> None:
    good = {"body": bytearray(saved(photo(), "PNG"))}
    bad = {"body": bytearray(b"<html>not found</html>")}
    batch = {"body": pack(noise(2))}
    answers, context = ask(handler, (good, None), (bad, None), (batch, BATCH_TYPE), (good, None))
    assert context.statuses == {1: (400, "Bad image: not_an_image")}
    assert answers[1]["reason"] == "not_an_image"
    assert "HTML" in answers[1]["error"]
    assert answers[0] == answers[3] == ask(handler, (good, None))[0][0]
    assert answers[2] == ask(handler, (batch, BATCH_TYPE))[0][0]


@pytest.mark.parametrize("body", [b"", b"anything"])
def test_the_card_is_given_as_it_stands_beside_other_requests(handler: SluiceHandler, body: bytes) -> None:
    batch = ({"body": pack(noise(2))}, BATCH_TYPE)
    (card, (answer)), context = ask(handler, ({"body": bytearray(body)}, f"{CARD_TYPE}; charset=utf-8"), batch)
    assert (card["name"], card["version"], card["digest"]) == ("noop", "1.0", DIGEST)
    assert card["preprocessing"] == SPEC.to_dict()
    assert card["labels"] == LABELS
    assert answer == ask(handler, batch)[0][0]
    assert context.statuses == {}
    assert ask(handler, ({}, CARD_TYPE))[0] == [card], "a GET has no body"


@pytest.mark.parametrize(
    ("row", "content_type", "reason", "said"),
    [
        ({"body": bytearray(b"SLB1")}, BATCH_TYPE, "bad_batch", "4 bytes"),
        ({"body": pack(noise(1))[:-1]}, BATCH_TYPE, "bad_batch", "the body has"),
        ({"body": pack([np.zeros((32, 32, 3), np.uint8)])}, BATCH_TYPE, "bad_batch", "wants 224 x 224"),
        ({"body": bytearray()}, BATCH_TYPE, "bad_batch", "0 bytes"),
        ({"body": bytearray()}, None, "empty", "0 bytes"),
        ({}, None, "not_an_image", "curl -T"),
        ({"\x89PNG": bytearray(b"x")}, "application/x-www-form-urlencoded", "not_an_image", "curl -T"),
        ({"body": {"url": "http://example.com"}}, "application/json", "not_an_image", "curl -T"),
        ({"body": bytearray(saved(photo(), "JPEG")[:3000])}, "image/jpeg", "truncated", "ends early"),
    ],
)
def test_what_cannot_be_read_is_a_400_with_a_reason(
    handler: SluiceHandler, row: dict[str, Any], content_type: str | None, reason: str, said: str
) -> None:
    (answer,), context = ask(handler, (row, content_type))
    assert context.statuses[0][0] == 400
    assert answer["reason"] == reason
    assert said in answer["error"]


def test_an_image_without_a_finite_result_fails_alone(handler: SluiceHandler, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = handler.model.network.forward

    def third_is_nan(images: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = forward(images).clone()
        outputs[2] = torch.nan
        return outputs

    monkeypatch.setattr(handler.model.network, "forward", third_is_nan)
    (answer,), _ = ask(handler, ({"body": pack(noise(4))}, BATCH_TYPE))
    assert [isinstance(top, dict) for top in answer["predictions"]] == [False, False, True, False]


def test_what_the_network_fails_on_is_a_500_with_its_words_and_alone(
    handler: SluiceHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = handler.model.network.forward

    def no_white(images: torch.Tensor) -> torch.Tensor:
        if (images.amin(dim=(1, 2, 3)) > 0.9).any():
            raise ValueError("no white,\n  please" + "!" * 1000)
        outputs: torch.Tensor = forward(images)
        return outputs

    monkeypatch.setattr(handler.model.network, "forward", no_white)
    white = {"body": pack([*noise(2), np.full((224, 224, 3), 255, np.uint8)])}
    good = {"body": pack(noise(2))}
    answers, context = ask(handler, (good, BATCH_TYPE), (white, BATCH_TYPE), (good, BATCH_TYPE))
    assert context.statuses == {1: (500, "Prediction failed")}
    assert answers[1]["error"].startswith("ValueError: no white, please!!!")
    assert len(answers[1]["error"]) == 300
    assert answers[0] == answers[2] == ask(handler, (good, BATCH_TYPE))[0][0]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: device-side assert triggered")])
def test_a_lack_of_memory_is_left_to_torchserve(
    handler: SluiceHandler, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """TorchServe answers 507, which says that the request isn't at fault."""

    def fail(_: torch.Tensor) -> torch.Tensor:
        raise error

    monkeypatch.setattr(handler.model.network, "forward", fail)
    with pytest.raises(type(error)):
        ask(handler, ({"body": pack(noise(1))}, BATCH_TYPE))


def test_the_network_sees_normalised_channels_last_floats(handler: SluiceHandler) -> None:
    images = np.stack(noise(2))
    tensor = handler.model.prepared(images)
    assert tensor.shape == (2, 3, 224, 224)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    expected = (images.astype(np.float64).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.5
    assert np.abs(tensor.numpy() - expected).max() < 1e-5


def test_noop_depends_on_the_image_and_repeats_itself(handler: SluiceHandler) -> None:
    (first,), _ = ask(handler, ({"body": pack(noise(8))}, BATCH_TYPE))
    (second,), _ = ask(handler, ({"body": pack(noise(8))}, BATCH_TYPE))
    assert first == second
    assert len({top[0][0] for top in first["predictions"]}) > 4
    assert Noop(3).state_dict() == {}


def test_weights_are_checked_against_the_card(tmp_path: Path) -> None:
    """A weights file with another digest is rejected before it is opened."""
    (tmp_path / "weights.pth").write_bytes(b"anything")
    write_archive(tmp_path, weights={"file": "weights.pth", "sha256": "0" * 64})
    with pytest.raises(CardError, match=r"weights\.pth has sha256 .*build the archive again"):
        SluiceHandler().initialize(Context(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["label 1", "label 0", *LABELS[2:]]},
        {"preprocessing": {**SPEC.to_dict(), "resize": 224}},
        {"preprocessing": {**SPEC.to_dict(), "mean": [0.4, 0.5, 0.5]}},
        {"architecture": "resnet18"},
        {"digest": "d" * 64},
    ],
)
def test_a_card_that_was_changed_is_not_served_under_its_old_digest(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_archive(tmp_path, **changes)
    with pytest.raises(CardError, match=r"digest is .* changed after it was built; build the archive again"):
        SluiceHandler().initialize(Context(tmp_path))


def test_code_of_another_preprocessing_than_the_cards_is_not_served(tmp_path: Path) -> None:
    write_archive(tmp_path, preprocessing={**SPEC.to_dict(), "version": 1})
    with pytest.raises(CardError, match=r"version 1, the archive's code is 2: build the archive again"):
        SluiceHandler().initialize(Context(tmp_path))


def test_weights_with_code_in_them_are_not_run(tmp_path: Path) -> None:
    """Only safetensors are read: a pickle that calls something isn't opened at all."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"weight": Trap()}, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()
    write_archive(tmp_path, weights={"file": "weights.pth", "sha256": digest})
    with pytest.raises(Exception, match=r"[Ww]eights"):
        SluiceHandler().initialize(Context(tmp_path))
    assert not (tmp_path / "sprung").exists()


def test_an_unknown_architecture_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="noop, efficientnet-lite0"):
        build("hotdog", 2)


def test_even_padding_inside_the_convolutions_changes_nothing() -> None:
    """EfficientNet-Lite0 as we run it computes the same as its package."""
    from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - slow to import, for one test

    ours = build("efficientnet-lite0", 1000).eval()
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(ours(images), theirs(images), atol=1e-5)
