"""Files of weights from strangers: safetensors and state dicts, told apart by what they hold, never run."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.architectures import build
from sluice.errors import BuildError, WeightsError
from sluice.images import digest_of
from sluice.images.identity import SAME_WEIGHTS
from tests.support.programs import SmallNet, bare_trap, small_net, small_program, trapped
from trainer.archives.recipe import read_recipe
from trainer.archives.sources import sha256_of, weights_file
from trainer.archives.weights import fit, is_safetensors, read_tensors, write_weights

FOREIGN = "holds no weights|can't be read|is a pickle that wants"


def saved(path: Path, told: object) -> Path:
    torch.save(told, path)
    return path


def forms(folder: Path) -> dict[str, Path]:
    """Write the same weights in each form that is read."""
    state = small_net().state_dict()
    safetensors.torch.save_file(state, folder / "plain.bin")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    return {
        "safetensors, whatever it is called": folder / "plain.bin",
        "a state dict": saved(folder / "state.pth", state),
        "one from before zip files": folder / "old.pth",
        "of DataParallel": saved(folder / "parallel.pth", {f"module.{name}": each for name, each in state.items()}),
        "a checkpoint": saved(folder / "checkpoint.pth", {"state_dict": state, "epoch": 3}),
        "a checkpoint of another kind": saved(folder / "model.pth", {"model": state, "optimizer": {"lr": 0.1}}),
    }


def test_the_same_weights_in_any_form_become_the_same_file(tmp_path: Path) -> None:
    made = set()
    for path in forms(tmp_path).values():
        network = SmallNet().eval()
        fit(network, read_tensors(path), path.name)
        write_weights(network, tmp_path / "weights.safetensors")
        made.add(sha256_of(tmp_path / "weights.safetensors"))
    assert len(made) == 1
    assert is_safetensors(tmp_path / "weights.safetensors")


def test_half_precision_and_missing_counters_fit(tmp_path: Path) -> None:
    state = {name: each for name, each in small_net().half().state_dict().items() if "num_batches" not in name}
    network = SmallNet()
    fit(network, read_tensors(saved(tmp_path / "half.pth", state)), "half.pth")
    assert {each.dtype for each in network.parameters()} == {torch.float32}
    assert torch.allclose(network.fc.weight, small_net().fc.weight, atol=1e-3)


def test_keys_that_do_not_fit_are_named_with_the_remedy() -> None:
    state = dict(small_net().state_dict())
    fit(SmallNet(), state, "w")
    with pytest.raises(BuildError, match=r"missing fc\.bias; unexpected head\.bias: name the architecture"):
        fit(
            SmallNet(),
            {**{name: each for name, each in state.items() if name != "fc.bias"}, "head.bias": state["fc.bias"]},
            "w",
        )
    with pytest.raises(BuildError, match=r"fc\.weight is \(3, 512\), expected \(7, 512\).*how many labels"):
        fit(SmallNet(7), state, "w")
    with pytest.raises(BuildError, match=r"fc\.bias holds torch\.int64, expected torch\.float32"):
        fit(SmallNet(), {**state, "fc.bias": state["fc.bias"].long()}, "w")


@pytest.mark.parametrize("classes", [2, 3, 17])
@pytest.mark.parametrize("name", ["efficientnet-lite0", "squeezenet1_1", "mobilenet_v3_small", "noop"])
def test_a_network_has_an_output_for_each_label(name: str, classes: int) -> None:
    with torch.inference_mode():
        assert build(name, classes).eval()(torch.zeros(1, 3, 224, 224)).shape == (1, classes)


@pytest.mark.parametrize("old", [True, False])
def test_a_pickle_that_wants_more_than_tensors_is_refused_and_never_run(tmp_path: Path, *, old: bool) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(bare_trap(tmp_path / "sprung") if old else trapped(tmp_path / "sprung"))
    with pytest.raises(
        WeightsError, match=r"w\.pth is a pickle that wants [\w.]+, not tensors alone: nothing of it was run"
    ):
        read_tensors(path)
    assert not (tmp_path / "sprung").exists()
    torch.load(path, weights_only=False) if not old else pickle.loads(path.read_bytes())
    assert (tmp_path / "sprung").exists(), "else this test shows nothing"


@pytest.mark.parametrize(
    "told", [[1, 2], {"a": 1}, {"state_dict": {"model": 1}}, 5, {}, {"weights": {"x": torch.ones(1)}}]
)
def test_what_holds_no_tensors_by_name_says_what_it_holds(tmp_path: Path, told: object) -> None:
    with pytest.raises(WeightsError, match="expected tensors by name"):
        read_tensors(saved(tmp_path / "w.pth", told))


def test_a_program_and_torchscript_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(small_program())
    with pytest.raises(WeightsError, match='architecture = "export"'):
        read_tensors(tmp_path / "w.pth")
    torch.jit.save(
        torch.jit.trace(  # type: ignore[no-untyped-call]
            small_net(), torch.zeros(1, 3, 32, 32)
        ),
        tmp_path / "w.pth",
    )
    with pytest.raises(WeightsError, match="TorchScript"):
        read_tensors(tmp_path / "w.pth")


headers = st.dictionaries(
    st.text(max_size=12),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F64", "I8", "BOOL", "X", ""]),
            "shape": st.lists(st.integers(-2, 2**62), max_size=3),
            "data_offsets": st.lists(st.integers(-4, 2**62), min_size=1, max_size=3),
        }
    )
    | st.integers()
    | st.text(max_size=5),
    max_size=3,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=headers, data=st.binary(max_size=64), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_header_of_safetensors_is_refused_or_read(
    tmp_path: Path, header: dict[str, Any], data: bytes, length: int | None
) -> None:
    told = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(told) if length is None else length) + told + data)
    with contextlib.suppress(WeightsError):
        assert all(isinstance(each, torch.Tensor) for each in read_tensors(path).values())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from(
        [b"", b"\x80\x02", b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x10" + b"\0" * 7 + b"{"]
    ),
)
def test_any_bytes_are_refused_or_read(tmp_path: Path, data: bytes, start: bytes) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(start + data)
    with pytest.raises(WeightsError, match=FOREIGN + "|expected tensors by name"):
        read_tensors(path)


def test_the_default_models_digest_is_the_one_it_had_when_archives_held_a_state_dict(tmp_path: Path) -> None:
    """Or an upgrade would find another model under the name and version that jobs began with."""
    recipe = read_recipe("efficientnet-lite0", None)
    network = build(recipe.architecture, 1000)
    fit(network, read_tensors(weights_file(recipe.weights, recipe.sha256, recipe.base, tmp_path)), "w")
    path = tmp_path / "weights.safetensors"
    write_weights(network, path)
    assert SAME_WEIGHTS[sha256_of(path)] == recipe.sha256
    assert digest_of("a", sha256_of(path), {}, ["b"]) == digest_of("a", recipe.sha256, {}, ["b"])
