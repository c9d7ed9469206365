"""Weights as tensors by name: read from safetensors or a state dict, fitted to a network, written as safetensors.

A state dict is a pickle. Only torch's reader of bare tensors opens it (`weights_only`), which refuses whatever a pickle
would run; what an archive carries is no pickle at all.
"""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from sluice.errors import BuildError, WeightsError

HEADER: Final = struct.Struct("<Q")
HEADER_MAX_BYTES: Final = 100_000_000
"""As the format's own readers have it."""
NESTED: Final = ("state_dict", "model")
PREFIXES: Final = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before each name."""
COUNTED: Final = "num_batches_tracked"
"""Old state dicts lack it, and predictions don't need it."""
NAMED: Final = 8
UNSUPPORTED: Final = re.compile(r"GLOBAL ([\w.]+)|[Uu]nsupported (?:global|class|operand|operator)[: ]+([\w.]+)")
CANT_READ: Final = (
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    EOFError,
    OSError,
    AssertionError,
    OverflowError,
    MemoryError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)
"""What torch's reader raises at files that are no state dicts."""

Tensors = dict[str, torch.Tensor]


def read_tensors(path: Path) -> Tensors:
    """Read a file of weights, by what it holds and not by its name; nothing in it is run."""
    tensors = _safetensors(path) if is_safetensors(path) else _state_dict(path)
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as safetensors do: with the length of a JSON object that is there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(HEADER.size + 1)
    if len(start) <= HEADER.size:
        return False
    (length,) = HEADER.unpack(start[: HEADER.size])
    return start[HEADER.size :] == b"{" and bool(length <= min(HEADER_MAX_BYTES, size - HEADER.size))


def fit(network: nn.Module, tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """Give a network its weights; BuildError names those that are missing, left over, or of another shape."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.endswith(COUNTED)]
    unknown = [name for name in tensors if name not in wanted]
    if missing or unknown:
        raise BuildError(
            f"{what} are weights of another network: "
            + "; ".join(
                f"{kind} {', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}"
                for kind, names in (("missing", missing), ("unexpected", unknown))
                if names
            )
            + ": name the architecture that they were trained for, or save that network's state_dict()"
        )
    odd = [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if odd:
        raise BuildError(
            f"{what}: {'; '.join(odd[:NAMED])}{f' and {len(odd) - NAMED} more' if len(odd) > NAMED else ''}: the first "
            f"number of the last layer is how many labels the recipe must have"
        )
    other = [
        name
        for name, tensor in tensors.items()
        if tensor.is_complex() or tensor.is_floating_point() != wanted[name].is_floating_point()
    ]
    if other:
        raise BuildError(f"{what}: {other[0]} holds {tensors[other[0]].dtype}, expected {wanted[other[0]].dtype}")
    network.load_state_dict({**wanted, **tensors})


def write_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights, the same bytes each time."""
    safetensors.torch.save_file(
        {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}, path
    )


def _safetensors(path: Path) -> Tensors:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, *CANT_READ) as error:
        raise WeightsError(f"{path.name} begins as safetensors, but can't be read: {error}: get it again") from error


def _state_dict(path: Path) -> Tensors:
    _check_zip(path)
    try:
        # As a file, since torch goes by a path's ending.
        with path.open("rb") as file:
            told = torch.load(file, map_location="cpu", weights_only=True)
    except CANT_READ as error:
        found = UNSUPPORTED.search(str(error))
        if found is not None:
            raise WeightsError(
                f"{path.name} is a pickle that wants {found[1] or found[2]}, not tensors alone: nothing of it was run. "
                f"Save only the tensors: torch.save(network.state_dict(), PATH), or safetensors.torch.save_file"
            ) from error
        raise WeightsError(
            f"{path.name} holds no weights that can be read ({_first_line(error)}): expected safetensors, or what "
            f"torch.save(network.state_dict(), PATH) writes"
        ) from error
    return _tensors_of(told, path.name)


def _check_zip(path: Path) -> None:
    """Refuse zip files that say they are larger than they are, and those of other makers."""
    try:
        with zipfile.ZipFile(path) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError):
        return  # no zip file: an old state dict is a bare pickle
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "archive_format" in names or "models/model.json" in names:
        raise WeightsError(f'{path.name} is a program of torch.export: give the recipe architecture = "export"')
    if any(name.startswith("code/") for name in names):
        raise WeightsError(
            f"{path.name} is TorchScript, which is code: save its state_dict(), or export it with torch.export"
        )
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise WeightsError(f"{path.name} is compressed: torch.save doesn't do that")


def _tensors_of(told: object, name: str) -> Tensors:
    for _ in range(len(NESTED)):
        if _is_tensors(told):
            break
        inner: list[Any] = [told[key] for key in NESTED if key in told] if isinstance(told, Mapping) else []
        if not inner:
            break
        told = inner[0]
    if not isinstance(told, Mapping) or not _is_tensors(told):
        kind = (
            f"a dict with {', '.join(map(repr, list(told)[:NAMED]))}"
            if isinstance(told, Mapping)
            else type(told).__name__
        )
        raise WeightsError(
            f"{name} holds {kind:.300}: expected tensors by name, as they are or under 'state_dict' or 'model'"
        )
    return {str(key): tensor for key, tensor in told.items()}


def _is_tensors(told: object) -> bool:
    return (
        isinstance(told, Mapping)
        and bool(told)
        and all(isinstance(key, str) and isinstance(each, torch.Tensor) for key, each in told.items())
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
