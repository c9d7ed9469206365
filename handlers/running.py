"""Which runtime this machine can run an archive's network by, and with which numbers; and why, if not as its card says.

An archive is the same everywhere, machines aren't: whatever a machine lacks, torch answers in fp32.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from sluice.images import BF16, FP32, INT8, OPENVINO, RUNTIMES, TORCH, CardError

INSTRUCTIONS: Final[Mapping[str, frozenset[str]]] = {
    BF16: frozenset({"amx_bf16", "avx512_bf16"}),
    INT8: frozenset({"amx_int8", "avx512_vnni", "avx_vnni"}),
}
"""What a processor needs for such numbers, any of these: without, they are slower, and in int8 sums may overflow."""
PROCESSOR: Final = Path("/proc/cpuinfo")
HALF: Final = "fp16"


@dataclass(frozen=True, slots=True)
class RunsAs:
    """How a network is run on this machine; `why` is empty if that is what its card says."""

    runtime: str
    precision: str
    why: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return it for a card's answer."""
        return asdict(self)


def runs_as(card: Mapping[str, Any], device: torch.device, processor: Path = PROCESSOR) -> RunsAs:
    """Return how this machine runs a card's network."""
    wanted = RunsAs(str(card.get("runtime", TORCH)), str(card.get("precision", FP32)))
    if wanted.runtime not in RUNTIMES:
        raise CardError(f"runtime is {wanted.runtime!r:.40}: known to the archive's code are {', '.join(RUNTIMES)}")
    if device.type != "cpu":
        return RunsAs(TORCH, HALF, "it is on a GPU, where torch computes in fp16")
    if wanted.runtime == TORCH:
        return wanted
    if importlib.util.find_spec("openvino") is None:
        return RunsAs(TORCH, FP32, "openvino isn't installed here")
    needed = INSTRUCTIONS.get(wanted.precision, frozenset())
    if needed and not needed & _instructions(processor):
        return RunsAs(OPENVINO, FP32, f"the processor has none of {', '.join(sorted(needed))}")
    return wanted


def _instructions(processor: Path) -> set[str]:
    lines = processor.read_text().splitlines()
    return {word for line in lines if line.startswith("flags") for word in line.partition(":")[2].split()}
