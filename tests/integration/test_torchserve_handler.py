"""The handler inside a real TorchServe."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import skimage
from numpy.typing import NDArray

from sluice.images import BATCH_TYPE, Preprocessing, decode, pack
from tests.support.corpus import LABEL, corpus, saved
from tools.photos import sample
from tools.stack import Servers, TorchServe, archive_of, card_of

MODEL = "efficientnet-lite0"
DATA = Path(skimage.__file__).parent / "data"
CORPUS = corpus()


@cache
def card() -> dict[str, Any]:
    """Read the archive's model.json; not at import time, when the archive may not be built yet."""
    return card_of(archive_of(MODEL))


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Decode as a consumer does."""
    return decode(data, Preprocessing.from_dict(card()["preprocessing"]), 10**8)


@pytest.fixture(scope="module")
def server(servers: Servers) -> TorchServe:
    servers.start(servers.torchserve)
    return servers.torchserve


def ask(server: TorchServe, data: Any, content_type: str | None = None, model: str = MODEL) -> requests.Response:  # noqa: ANN401
    headers = {"Content-Type": content_type} if content_type else {}
    url = f"{server.address}/predictions/{model}/1.0"
    return requests.post(url, data=data, headers=headers, timeout=120)


def predict_packed(server: TorchServe, images: list[Any], model: str = MODEL) -> list[Any]:
    answer = ask(server, bytes(pack(images)), BATCH_TYPE, model)
    assert answer.status_code == 200, answer.text
    predictions: list[Any] = answer.json()["predictions"]
    return predictions


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee.png", {"espresso", "cup"}),
        ("rocket.jpg", {"missile", "projectile"}),
        ("motorcycle_left.png", {"moped", "motor scooter"}),
    ],
)
def test_curl_names_what_is_on_a_photo(server: TorchServe, name: str, labels: set[str]) -> None:
    command = ["curl", "-sS", "--fail", "-T", str(DATA / name), f"{server.address}/predictions/{MODEL}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    top = json.loads(shown)
    assert len(top) == 10
    assert shown.count("\n") >= 10, "a line a label, for a person to read"
    assert next(iter(top)) in labels
    assert sum(score for label, score in top.items() if label in labels) > 0.4


def test_labels_are_right_for_photos_of_another_package(server: TorchServe) -> None:
    for name, labels in (("china", {"palace", "bell cote", "monastery"}), ("flower", {"daisy"})):
        data = saved(sample(name), "JPEG", quality=90)
        assert next(iter(ask(server, data).json())) in labels


def test_packed_and_curl_agree_on_every_photo(server: TorchServe) -> None:
    """Both kinds of requests are decoded by the same code, so their answers are equal."""
    files = [DATA / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")]
    packed = predict_packed(server, [pixels(path.read_bytes()) for path in files])
    for path, top in zip(files, packed, strict=True):
        named = ask(server, path.read_bytes()).json()
        for number, score in top:
            assert named[card()["labels"][number]] == pytest.approx(score, abs=2e-5)


def test_every_readable_file_of_the_corpus_shows_what_it_shows(server: TorchServe) -> None:
    cases = [case for case in CORPUS if case.reason is None and case.photo and not case.grey]
    images = [pixels(case.data) for case in cases]
    tops = predict_packed(server, images)
    assert len(cases) >= 60
    assert {case.name: card()["labels"][top[0][0]] for case, top in zip(cases, tops, strict=True)} == {
        case.name: LABEL for case in cases
    }


def test_every_bad_file_is_a_400_with_its_reason(server: TorchServe) -> None:
    for case in CORPUS:
        if case.reason is not None:
            answer = ask(server, case.data)
            assert (case.name, answer.status_code, answer.json()["reason"]) == (case.name, 400, case.reason)
    assert ask(server, (DATA / "coffee.png").read_bytes()).ok, "and the worker lives"


@pytest.mark.parametrize(
    "content_type", [None, "application/octet-stream", "image/png", "text/plain", "application/json"]
)
def test_the_content_type_of_a_photo_does_not_matter(server: TorchServe, content_type: str | None) -> None:
    answer = ask(server, (DATA / "coffee.png").read_bytes(), content_type)
    assert next(iter(answer.json())) == LABEL


@pytest.mark.parametrize("field", ["data", "body"])
def test_a_form_works_too(server: TorchServe, field: str) -> None:
    with (DATA / "coffee.png").open("rb") as file:
        answer = requests.post(f"{server.address}/predictions/{MODEL}", files={field: file}, timeout=60)
    assert next(iter(answer.json())) == LABEL


def test_a_malformed_batch_is_a_400_that_says_why(server: TorchServe) -> None:
    answer = ask(server, b"SLB1" + b"\xff" * 12, BATCH_TYPE)
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_batch")
    assert "the body has" in answer.json()["error"]


def test_the_largest_batch_is_accepted(server: TorchServe) -> None:
    """SLUICE_BATCH may be up to 512, which TorchServe's request limit must allow."""
    image = np.zeros((224, 224, 3), np.uint8)
    assert len(predict_packed(server, [image] * 512, "noop")) == 512


def test_management_is_on_loopback_and_loads_nothing_from_elsewhere(server: TorchServe) -> None:
    management = f"http://127.0.0.1:{server.ports['management_port']}"
    answer = requests.post(f"{management}/models?url=http://127.0.0.1:9/evil.mar", timeout=30)
    assert answer.status_code >= 400
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    for port in server.ports.values():
        lines = [line for line in listening.splitlines() if f":{port} " in line]
        assert all("127.0.0.1" in line for line in lines), lines


@pytest.fixture
def batching(servers: Servers, tmp_path: Path) -> Iterator[TorchServe]:
    """Serve noop with server-side batches of 4."""
    model = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 4, "maxBatchDelay": 300, "responseTimeout": 60}
    options = {"models": json.dumps({"noop": {"1.0": {"defaultVersion": True, "marName": "noop.mar", **model}}})}
    made = TorchServe(tmp_path, servers.leash, [archive_of("noop")], name="batching", options=options)
    made.start()
    made.wait_ready()
    yield made
    made.stop()


def test_one_bad_image_never_fails_the_requests_beside_it(batching: TorchServe) -> None:
    dice = np.random.default_rng(1)
    images = [dice.integers(0, 256, (224, 224, 3)).astype(np.uint8) for _ in range(6)]
    alone = [predict_packed(batching, [image], "noop")[0] for image in images]
    bodies: list[tuple[bytes, str | None]] = [(bytes(pack([image])), BATCH_TYPE) for image in images]
    bodies += [(b"no image at all", None), (b"SLB1", BATCH_TYPE)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        answers = list(pool.map(lambda body: ask(batching, body[0], body[1], "noop"), bodies))
    assert [answer.status_code for answer in answers] == [200] * 6 + [400] * 2
    for answer, expected in zip(answers, alone, strict=False):
        (found,) = answer.json()["predictions"]
        # Some classes of noop are nearly equal, and how a batch is multiplied decides which of them comes first.
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=2e-5)
        known, least = dict(found), found[-1][1]
        assert [known.get(number, least) for number, _ in expected] == pytest.approx(
            [score for _, score in expected], abs=2e-5
        )
