"""Files of torch.export (.pt2): looked at member by member before torch opens them, and loaded.

`torch.export.load` unpickles whatever a file has pickled (sample inputs, weights, constants, objects), loads compiled
libraries, and evaluates texts (handlers/graphs.py). Here only raw numbers and a graph of known operations pass: what
else a file may hold is refused, and the sample inputs, which nobody needs, are looked at and left out.
"""

from __future__ import annotations

import io
import json
import math
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from handlers.graphs import TEXT_MAX, plain_graph
from sluice.images import WeightsError

GRAPH: Final = "models/model.json"
SAMPLE: Final = "data/sample_inputs/model.pt"
PAYLOADS: Final = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
"""Folders of numbers, and what says which is which."""
NUMBERS: Final = re.compile(r"data/(weights/weight|constants/tensor)_[0-9]{1,6}")
MARKS: Final = frozenset(
    {"archive_format", "archive_version", "byteorder", "version", ".data/version", ".data/serialization_id"}
    | {".format_version", ".storage_alignment"}
)
KNOWN: Final = frozenset({*MARKS, GRAPH, SAMPLE, *PAYLOADS.values()})
GRAPH_MAX_BYTES: Final = 64 * 1024 * 1024
MEMBERS_MAX: Final = 20_000
STRIDED: Final = 7
CHANNELS: Final = 3
FLOAT32: Final = 7
BATCH_MAX: Final = 512
"""Images in a consumer's largest batch."""
BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}
"""Of a number, by torch's code of its kind."""
PICKLED: Final = re.compile(
    r"torch\._utils _rebuild_(tensor_v2|parameter)|collections OrderedDict|torch [A-Za-z0-9]+Storage|"
    r"torch\._tensor _rebuild_from_type_v2|torch (Tensor|device)|torch\.serialization _get_layout|__builtin__ set|"
    r"torch\._dynamo\.decorators _DimRange|torch\._export\.serde\.serialize _reconstruct_fake_tensor"
)
"""What sample inputs name. They are never unpickled; anything else there was put there by somebody."""


@dataclass(frozen=True)
class Program:
    """What is kept of a file: its graph, how its numbers are laid out, and where these are."""

    graph: dict[str, Any]
    payloads: dict[str, dict[str, Any]]
    numbers: dict[str, str]
    """The member that has each record's bytes."""
    crop: int
    classes: int


def read_program(path: Path) -> Program:
    """Look at a file without running or unpickling any of it; WeightsError says what it holds that it mustn't."""
    try:
        with zipfile.ZipFile(path) as opened:
            return _read(opened)
    except (zipfile.BadZipFile, OSError, EOFError, RecursionError) as error:
        raise WeightsError(f"{path.name} is no file of torch.export.save ({error})") from error
    except WeightsError as error:
        raise WeightsError(f"{path.name}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path.name} isn't what torch.export.save writes ({error!r})") from error


def load_program(path: Path, device: torch.device) -> nn.Module:
    """Return a checked program as a network on a device."""
    read_program(path)
    program = torch.export.load(path)
    if device.type != "cpu":
        program = move_to_device_pass(program, str(device))
    return ProgramNetwork(program.module())


class ProgramNetwork(nn.Module):
    """A program that may be called as a network is."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores. Views that were right for the exporter's order of values needn't be for another one."""
        scores: torch.Tensor = self.program(images.contiguous())
        return scores

    def train(self, mode: bool = True) -> ProgramNetwork:  # noqa: FBT001, FBT002 - torch's own signature
        """Stay as exported: a program has no other mode."""
        del mode
        return self


def _read(opened: zipfile.ZipFile) -> Program:
    records = dict(_records(opened))
    for name, entry in records.items():
        if entry.compress_type != zipfile.ZIP_STORED:
            raise WeightsError(f"its member {name} is compressed: torch.export.save stores as it is")
        _check_member(name)
    if SAMPLE in records:
        _check_pickle(opened.read(records[SAMPLE]))
    for needed in (GRAPH, *PAYLOADS.values()):
        if records[needed].file_size > GRAPH_MAX_BYTES:
            raise WeightsError(f"its {needed} is larger than {GRAPH_MAX_BYTES} bytes")
    payloads = {}
    for folder, config in PAYLOADS.items():
        told = json.loads(opened.read(records[config]))["config"]
        payloads[config] = {"config": {name: _payload(name, each, folder, records) for name, each in told.items()}}
    graph = plain_graph(json.loads(opened.read(records[GRAPH])))
    crop, classes = _shape(graph)
    numbers = {name: entry.filename for name, entry in records.items() if NUMBERS.fullmatch(name)}
    return Program(graph, payloads, numbers, crop, classes)


def _records(opened: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield what stands below the one folder at the top, by its name there."""
    entries = opened.infolist()
    if not 1 <= len(entries) <= MEMBERS_MAX:
        raise WeightsError(f"it has {len(entries)} members: expected 1 to {MEMBERS_MAX}")
    top = entries[0].filename.partition("/")[0]
    seen = set()
    for entry in entries:
        folder, _, name = entry.filename.partition("/")
        if folder != top or not name or name in seen:
            raise WeightsError(f"its member {entry.filename[:TEXT_MAX]!r} is out of place, or there twice")
        seen.add(name)
        yield name, entry


def _check_member(name: str) -> None:
    if name in KNOWN or name.startswith("extra/") or NUMBERS.fullmatch(name):
        return
    what = "an unknown member"
    if name.startswith(("data/constants/", "data/weights/")):
        what = "a pickled object"
    elif name.startswith("data/aotinductor/"):
        what = "compiled code"
    elif name.startswith("models/"):
        what = "a second program"
    raise WeightsError(
        f"it holds {what}, {name[:TEXT_MAX]!r}: a program is one graph and its numbers, as torch.export.save writes it "
        f"of a network without objects of its own"
    )


def _check_pickle(data: bytes) -> None:
    """Refuse sample inputs that name more than tensors."""
    if not data:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            (name,) = [each for each in inner.namelist() if each.endswith("data.pkl")]
            entry = inner.getinfo(name)
            pickled = inner.read(entry) if entry.file_size <= len(data) else b""
        codes = [(code.name, str(said)) for code, said, _ in pickletools.genops(pickled)]
    except (zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(f"its sample inputs are no tensors ({error}): export it again") from error
    foreign = [said for code, said in codes if code in {"GLOBAL", "INST"} and not PICKLED.fullmatch(said)]
    hidden = any(code in {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"} for code, _ in codes)
    if foreign or hidden:
        named = foreign[0].replace(" ", ".")[:TEXT_MAX] if foreign else "what it builds at loading"
        raise WeightsError(
            f"its sample inputs are a pickle that would run {named}: nothing of it was run; get the program from those "
            f"who made it, or export it again"
        )


def _payload(name: str, told: Mapping[str, Any], folder: str, records: Mapping[str, zipfile.ZipInfo]) -> dict[str, Any]:
    """Return where and how a tensor's numbers lie, if it is plain numbers and they are all there."""
    if told["use_pickle"]:
        raise WeightsError(f"its {name[:TEXT_MAX]!r} is pickled: export the network with plain tensors only")
    meta, place = told["tensor_meta"], str(told["path_name"])
    entry = records.get(f"{folder}{place}")
    if entry is None or not NUMBERS.fullmatch(f"{folder}{place}"):
        raise WeightsError(f"its {name[:TEXT_MAX]!r} has no numbers at {folder}{place[:TEXT_MAX]}")
    if meta["device"]["type"] != "cpu":
        raise WeightsError(
            f"it was exported on {meta['device']['type']}: export it on the CPU, it is moved when loaded"
        )
    sizes, strides = ([int(each["as_int"]) for each in meta[part]] for part in ("sizes", "strides"))
    offset, kind = int(meta["storage_offset"]["as_int"]), int(meta["dtype"])
    if kind not in BYTES or int(meta["layout"]) != STRIDED or min([*sizes, *strides, offset], default=0) < 0:
        raise WeightsError(f"its {name[:TEXT_MAX]!r} is of a kind of tensor that isn't known here")
    if math.prod(sizes) * BYTES[kind] > entry.file_size:
        raise WeightsError(f"its {name[:TEXT_MAX]!r} is larger than its numbers are")
    return {
        "path_name": place,
        "is_param": bool(told["is_param"]),
        "use_pickle": False,
        "tensor_meta": {
            "dtype": kind,
            "sizes": [{"as_int": size} for size in sizes],
            "requires_grad": bool(meta["requires_grad"]),
            "device": {"type": "cpu", "index": None},
            "strides": [{"as_int": stride} for stride in strides],
            "storage_offset": {"as_int": offset},
            "layout": STRIDED,
        },
    }


def _shape(graph: Mapping[str, Any]) -> tuple[int, int]:
    """Return the side of the pictures that a program takes, and how many scores it gives of each."""
    module = graph["graph_module"]
    tensors, signature = module["graph"]["tensor_values"], module["signature"]
    inputs = [each["user_input"]["arg"] for each in signature["input_specs"] if "user_input" in each]
    if [key for each in signature["output_specs"] for key in each] != ["user_output"] or len(inputs) != 1:
        raise WeightsError("it changes its own numbers as it runs, or gives more than scores: export it in eval mode")
    (taken,) = inputs
    given = signature["output_specs"][0]["user_output"]["arg"]
    count, *shape = tensors[taken["as_tensor"]["name"]]["sizes"]
    scores = tensors[given["as_tensor"]["name"]]["sizes"]
    side = int(shape[-1].get("as_int", 0)) if shape else 0
    if (
        [each.get("as_int") for each in shape] != [CHANNELS, side, side]
        or not side
        or tensors[taken["as_tensor"]["name"]]["dtype"] != FLOAT32
    ):
        raise WeightsError("it must take float32 pictures (n, 3, crop, crop): export it with such an example")
    most = [span["max_val"] for span in graph["range_constraints"].values() if span["max_val"] is not None]
    if "as_expr" not in count or any(limit < BATCH_MAX for limit in most):
        raise WeightsError(
            "it takes a fixed number of pictures: export it with dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) and "
            f"an example of two pictures; consumers send up to {BATCH_MAX}"
        )
    if len(scores) != 2 or "as_int" not in scores[1]:  # noqa: PLR2004 - pictures and classes
        raise WeightsError("it must give scores (n, classes)")
    return side, int(scores[1]["as_int"])
