"""What is measured of a picture; `measuring` does it, and needs numpy and Pillow, which readers of counts don't."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureMeasures:
    """What is measured of a picture."""

    brightness: float
    """Mean of the luma, 0 to 255."""
    contrast: float
    """Standard deviation of the luma, 0 to 128."""
    sharpness: float
    """Mean difference of neighbours in a row, 0 to 255: a blurred picture has little."""
    width: int
    height: int

    @property
    def size(self) -> float:
        """Return the side of a square with as many pixels."""
        return float((self.width * self.height) ** 0.5)
