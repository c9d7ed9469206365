"""How a heat map is made: from a network's last feature maps; and the handler's answers about it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from handlers.explanation import explain
from handlers.sluice_handler import SluiceHandler
from sluice.images import BATCH_TYPE, pack
from tests.unit.test_handler import Context, noise, write_archive


class Brightest(nn.Module):
    """Has two classes: 0 is dark, 1 is bright, anywhere in the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 2, kernel_size=32, stride=32, bias=False)
        with torch.no_grad():
            self.maps.weight[0] = -1.0
            self.maps.weight[1] = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.maps(images).mean(dim=(2, 3)) / 1000
        return scores


class Attentive(nn.Module):
    """Makes feature maps, then mixes their places by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 4, kernel_size=32, stride=32)
        self.mixing = nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        places = self.maps(images).flatten(2).transpose(1, 2)
        mixed: torch.Tensor = self.mixing(places, places, places)[0].mean(dim=1)
        return mixed


def test_the_part_that_makes_the_class_speaks_loudest() -> None:
    image = torch.zeros(1, 3, 96, 128)
    image[:, :, 32:64, 96:] = 1.0
    found = explain(Brightest().eval(), image)
    assert not isinstance(found, str)
    assert (found["class"], found["rows"], found["columns"]) == (1, 3, 4)
    parts = np.frombuffer(base64.b64decode(found["map"]), np.uint8).reshape(3, 4)
    assert parts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0]]


def test_a_picture_without_anything_in_it_has_no_map() -> None:
    assert "no part of this picture" in str(explain(Brightest().eval(), torch.zeros(1, 3, 96, 96)))


def test_maps_before_attention_are_no_places() -> None:
    assert "no feature maps" in str(explain(Attentive().eval(), torch.rand(1, 3, 96, 96)))


@pytest.fixture
def handler(tmp_path: Path) -> SluiceHandler:
    write_archive(tmp_path)
    made = SluiceHandler()
    made.initialize(Context(tmp_path))
    return made


def test_explanations_and_predictions_come_in_one_batch_of_requests(handler: SluiceHandler) -> None:
    context = Context(Path(), [BATCH_TYPE] * 3)
    context.explained = {1, 2}
    rows = [{"body": pack(noise(1))}, {"body": pack(noise(1))}, {"body": pack(noise(2))}]
    predicted, explained, several = (json.loads(answer) for answer in handler.handle(rows, context))
    assert len(predicted["predictions"][0]) == 10
    assert (explained["model"], explained["digest"]) == (predicted["model"], predicted["digest"])
    assert explained["error"].startswith("this model has no feature maps")
    assert several["error"] == "2 pictures were sent: send one at a time"


def test_a_network_with_maps_is_explained(handler: SluiceHandler) -> None:
    handler.model._network = Brightest().eval()
    context = Context(Path(), [BATCH_TYPE])
    context.explained = {0}
    white = np.full((224, 224, 3), 255, np.uint8)
    (answer,) = (json.loads(each) for each in handler.handle([{"body": pack([white])}], context))
    assert (answer["class"], answer["label"], answer["rows"], answer["columns"]) == (1, "label 1", 7, 7)
    assert base64.b64decode(answer["map"]) == b"\xff" * 49
