"""How an image is prepared for a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

INTERPOLATIONS = ("bilinear", "bicubic")
CHANNELS = 3
VERSION: Final = 2
"""The version of the pixels that `decode` makes. 2: those of torchvision's Resize and CenterCrop. 1: subpixel crops."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Resize the short side to `resize`, crop the centre square of `crop`, then (value / 255 - mean) / std.

    Consumers do the first two steps and send bytes. The normalization happens next to the model: that needs a quarter
    of the traffic and, on a GPU, no time.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    version: int = VERSION

    def __post_init__(self) -> None:
        """Raise ValueError for impossible values."""
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop is {self.crop}: expected 1 to resize, which is {self.resize}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation is {self.interpolation!r}: expected {' or '.join(INTERPOLATIONS)}")
        if len(self.mean) != CHANNELS or len(self.std) != CHANNELS or min(self.std) <= 0:
            raise ValueError("mean and std: expected three numbers each, those of std above 0")
        if not 1 <= self.version <= VERSION:
            raise ValueError(
                f"preprocessing version is {self.version}: this Sluice knows 1 to {VERSION}, so its pixels would be "
                f"others than the model's: upgrade Sluice"
            )

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Preprocessing:
        """Read the result of `to_dict`; raise ValueError if something is missing or wrong.

        Cards without a version have version 1. Their recipe is the same, so they are decoded the same way.
        """
        names = set(cls.__dataclass_fields__)
        try:
            if set(given) | {"version"} != names:
                wrong = sorted(names ^ (set(given) | {"version"}))
                raise ValueError(
                    f"preprocessing: expected exactly {', '.join(sorted(names))}; look at {', '.join(wrong)}"
                )
            return cls(
                resize=int(given["resize"]),
                crop=int(given["crop"]),
                interpolation=str(given["interpolation"]),
                mean=tuple(float(value) for value in given["mean"]),
                std=tuple(float(value) for value in given["std"]),
                version=int(given.get("version", 1)),
            )
        except TypeError as error:  # null, or a list where a number belongs
            raise ValueError(f"preprocessing: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
