"""Programs of torch.export from strangers: what could run is refused before torch opens the file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.graphs import plain_graph
from handlers.programs import load_program, read_program
from sluice.errors import WeightsError
from tests.support.programs import (
    CLASSES,
    SIDE,
    bare_trap,
    changed,
    exported,
    graph_of,
    small_net,
    small_program,
    trapped,
    with_graph,
)
from trainer.archives.programs import write_program

CPU = torch.device("cpu")
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


def written(folder: Path, data: bytes) -> Path:
    path = folder / "mine.pt2"
    path.write_bytes(data)
    return path


def nodes(graph: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = graph["graph_module"]["graph"]["nodes"]
    return found


def size(graph: dict[str, Any]) -> dict[str, Any]:
    """Return the first formula of a size."""
    values = graph["graph_module"]["graph"]["tensor_values"].values()
    found: dict[str, Any] = next(
        each["sizes"][0]["as_expr"] for each in values if each["sizes"] and "as_expr" in each["sizes"][0]
    )
    return found


def test_a_program_answers_as_torch_does_in_any_batch(tmp_path: Path) -> None:
    source, made = written(tmp_path, small_program()), tmp_path / "program.pt2"
    program = read_program(source)
    assert (program.crop, program.classes) == (SIDE, CLASSES)
    write_program(source, program, made)
    images = torch.randn(5, 3, SIDE, SIDE)
    network = load_program(made, CPU)
    with torch.inference_mode():
        expected = small_net()(images)
        for count in (1, 2, 5):
            part = images[:count].to(memory_format=torch.channels_last)
            assert torch.allclose(network(part), expected[:count], atol=1e-6)
    assert network.train().eval() is network


def test_what_is_written_is_the_same_each_time_and_has_no_pickle(tmp_path: Path) -> None:
    source = written(tmp_path, small_program())
    for name in ("one.pt2", "two.pt2"):
        write_program(source, read_program(source), tmp_path / name)
    one = (tmp_path / "one.pt2").read_bytes()
    assert one == (tmp_path / "two.pt2").read_bytes()
    assert b"data.pkl" not in one
    write_program(tmp_path / "one.pt2", read_program(tmp_path / "one.pt2"), tmp_path / "two.pt2")
    assert one == (tmp_path / "two.pt2").read_bytes()


TRAPS: list[tuple[str, Callable[[Path], dict[str, bytes | None]]]] = [
    (
        "sample inputs are a pickle that would run ",
        lambda path: {"data/sample_inputs/model.pt": trapped(path)},
    ),
    (r"sample inputs are no tensors", lambda path: {"data/sample_inputs/model.pt": bare_trap(path)}),
    ("a pickled object, 'data/weights/model.pt'", lambda path: {"data/weights/model.pt": trapped(path)}),
    ("a pickled object, 'data/constants/model.pt'", lambda path: {"data/constants/model.pt": trapped(path)}),
    (
        "a pickled object, 'data/constants/opaque_obj_0'",
        lambda path: {
            "data/constants/opaque_obj_0": bare_trap(path),
            CONSTANTS: json.dumps(payload("opaque_obj_0", use_pickle=True)).encode(),
        },
    ),
    (
        "'conv.weight' is pickled",
        lambda path: {
            "data/weights/weight_0": trapped(path),
            WEIGHTS: json.dumps(payload("weight_0", use_pickle=True)).encode(),
        },
    ),
    ("compiled code", lambda _path: {"data/aotinductor/model/run.so": b"\x7fELF"}),
    ("an unknown member", lambda _path: {"xl_model_weights/x": b""}),
    ("a second program", lambda _path: {"models/other.json": b"{}"}),
]


def payload(place: str, *, use_pickle: bool) -> dict[str, Any]:
    told = {"path_name": place, "is_param": True, "use_pickle": use_pickle, "tensor_meta": None}
    return {"config": {"conv.weight": told}}


@pytest.mark.parametrize(("said", "members"), TRAPS, ids=[said for said, _ in TRAPS])
def test_a_pickle_in_any_place_is_refused_and_never_run(
    tmp_path: Path, said: str, members: Callable[[Path], dict[str, bytes | None]]
) -> None:
    path = written(tmp_path, changed(small_program(), members(tmp_path / "sprung")))
    with pytest.raises(WeightsError, match=said):
        load_program(path, CPU)
    assert not (tmp_path / "sprung").exists()


def test_torch_itself_would_have_run_it(tmp_path: Path) -> None:
    """Else the tests beside this one show nothing."""
    path = written(tmp_path, changed(small_program(), {"data/sample_inputs/model.pt": trapped(tmp_path / "sprung")}))
    with pytest.raises(AssertionError):
        torch.export.load(path)
    assert (tmp_path / "sprung").exists()


TEXTS = [
    "__import__('pathlib').Path('SPRUNG').touch()",
    "Symbol('s77', positive=__import__('pathlib').Path('SPRUNG').touch())",
    "Mul(Integer(2), open('SPRUNG', 'w'))",
    "Symbol('x') if open('SPRUNG', 'w') else 1",
    "Add(" * 500 + ")" * 500,
    "9**9**9**9",
    "[1 for x in (1,)]",
    "lambda: 1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_size_that_torch_would_evaluate_is_refused(tmp_path: Path, text: str) -> None:
    text = text.replace("SPRUNG", str(tmp_path / "sprung"))
    path = written(tmp_path, with_graph(lambda graph: size(graph).update(expr_str=text)))
    with pytest.raises(WeightsError, match="a size that is none"):
        load_program(path, CPU)
    assert not (tmp_path / "sprung").exists()


def test_torch_itself_would_have_evaluated_a_size(tmp_path: Path) -> None:
    text = TEXTS[0].replace("SPRUNG", str(tmp_path / "sprung"))
    path = written(tmp_path, with_graph(lambda graph: size(graph).update(expr_str=text)))
    with pytest.raises((RuntimeError, AttributeError, TypeError, ValueError)):
        torch.export.load(path)
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.load_library",
        "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.conv2d.nothing",
        "torch.ops.aten._nothing.default",
        "torch.ops.higher_order.cond",
        "torch.load",
        "torch.hub.load",
        "_operator.attrgetter",
        "math.factorial",
        "#x:y",
        "os.system",
        "",
    ],
)
def test_only_operations_that_networks_are_made_of_are_called(tmp_path: Path, target: str) -> None:
    path = written(tmp_path, with_graph(lambda graph: nodes(graph)[0].update(target=target)))
    with pytest.raises(WeightsError, match="it calls"):
        read_program(path)


def renamed(graph: dict[str, Any]) -> None:
    nodes(graph)[-1]["outputs"][0]["as_tensor"]["name"] = "x = 1; import os"


def inner(graph: dict[str, Any]) -> None:
    nodes(graph)[0]["inputs"][0]["arg"] = {"as_graph": {"name": "g", "graph": {}}}


def trained(graph: dict[str, Any]) -> None:
    graph["graph_module"]["signature"]["output_specs"].insert(0, {"buffer_mutation": {"arg": {"name": "x"}}})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "a name that is none: 'x = 1; import os'"),
        (
            lambda graph: graph["graph_module"]["graph"]["tensor_values"].update({"a b": {}}),
            "a name that is none: 'a b'",
        ),
        (lambda graph: graph["graph_module"]["graph"]["tensor_values"].update({"class": {}}), "'class'"),
        (lambda graph: graph["graph_module"]["graph"].update(custom_obj_values={"x": {}}), "objects of other kinds"),
        (lambda graph: graph["range_constraints"].update({"os.x": {"min_val": 1, "max_val": 9}}), "no range"),
        (lambda graph: graph["schema_version"].update(major=7), "of version 7"),
        (lambda graph: graph.update(verifiers=["a b"]), "'a b'"),
        (lambda graph: graph.update(graph_module=[]), "not of a form|isn't of a form"),
        (inner, "graphs within its graph"),
        (trained, "in eval mode"),
        (lambda graph: graph["graph_module"]["module_call_graph"].clear(), "must take one tensor"),
    ],
)
def test_a_graph_of_another_form_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        read_program(written(tmp_path, with_graph(change)))


def test_guards_and_metadata_go_no_further(tmp_path: Path) -> None:
    def poison(graph: dict[str, Any]) -> None:
        graph["guards_code"] = [f"open({str(tmp_path / 'sprung')!r}, 'w')"]
        nodes(graph)[0]["metadata"] = {"source_fn_stack": "x,torch.hub.load", "stack_trace": "x"}

    source = written(tmp_path, with_graph(poison))
    write_program(source, read_program(source), tmp_path / "made.pt2")
    network = load_program(tmp_path / "made.pt2", CPU)
    with torch.inference_mode():
        network(torch.zeros(1, 3, SIDE, SIDE))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (small_net(), {"dynamic": False}, r"fixed number of pictures: export it with dynamic_shapes"),
        (torch.nn.Flatten(2), {}, r"must give scores \(n, classes\)"),
    ],
)
def test_a_program_of_another_shape_says_what_is_wanted(
    tmp_path: Path, network: torch.nn.Module, options: dict[str, bool], said: str
) -> None:
    with pytest.raises(WeightsError, match=said):
        read_program(written(tmp_path, exported(network, **options)))


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + b"\0" * 18, b"no zip file", b"\x80\x04N."])
def test_what_is_no_such_file_is_said(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"mine\.pt2"):
        read_program(written(tmp_path, data))


def test_numbers_that_are_not_there_are_missed(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no numbers at data/weights/weight_0"):
        read_program(written(tmp_path, changed(small_program(), {"data/weights/weight_0": None})))
    with pytest.raises(WeightsError, match="larger than its numbers"):
        read_program(written(tmp_path, changed(small_program(), {"data/weights/weight_0": b"1234"})))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=10), inside, max_size=3),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_to_a_graph_is_refused_or_harmless(data: st.DataObject) -> None:
    """A part of the graph is replaced by whatever JSON: no error but WeightsError."""
    graph = graph_of(small_program())
    place: Any = graph
    for _ in range(data.draw(st.integers(1, 9))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys)) if keys else None
        if key is None or not isinstance(place[key], dict | list) or not place[key]:
            break
        parent, place = place, place[key]
        holder = (parent, key)
    else:
        key = None
    target, at = (place, key) if key is not None else holder
    target[at] = data.draw(json_values)
    with contextlib.suppress(WeightsError):
        assert plain_graph(graph)["guards_code"] == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(small_program())), noise=st.binary(max_size=40))
def test_a_damaged_file_is_refused_or_whole(tmp_path: Path, cut: int, noise: bytes) -> None:
    data = small_program()
    path = written(tmp_path, data[:cut] + noise + data[cut + len(noise) :])
    with contextlib.suppress(WeightsError):
        assert read_program(path).classes == CLASSES
