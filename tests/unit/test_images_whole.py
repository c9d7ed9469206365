"""Pictures for people: complete, upright, on white, and never enlarged."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sluice.images import ImageError, decode_whole


def stored(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def test_the_longest_side_is_bounded_and_the_shape_stays() -> None:
    assert decode_whole(stored(Image.new("RGB", (800, 400))), 200, 10**6).shape == (100, 200, 3)
    assert decode_whole(stored(Image.new("RGB", (3000, 4000)), "JPEG"), 400, 10**8).shape == (400, 300, 3)


def test_a_small_picture_stays_small_and_a_thin_one_keeps_a_pixel() -> None:
    assert decode_whole(stored(Image.new("RGB", (40, 30))), 200, 10**6).shape == (30, 40, 3)
    assert decode_whole(stored(Image.new("L", (5000, 1))), 200, 10**6).shape == (1, 200, 3)


def test_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_whole(stored(Image.new("RGB", (800, 400)), "JPEG", exif=exif), 200, 10**6).shape == (200, 100, 3)


def test_what_is_transparent_is_white() -> None:
    assert (decode_whole(stored(Image.new("RGBA", (50, 50), (255, 0, 0, 0))), 20, 10**6) == 255).all()


def test_sixteen_bits_are_seen() -> None:
    deep = Image.fromarray(np.full((60, 60), 32768, np.uint16))
    assert abs(int(decode_whole(stored(deep), 30, 10**6).mean()) - 128) <= 1


def test_bounds_and_reasons_are_those_of_consumers() -> None:
    with pytest.raises(ImageError, match="at most 1000 are decoded"):
        decode_whole(stored(Image.new("RGB", (100, 100))), 20, 1000)
    with pytest.raises(ImageError, match="0 bytes"):
        decode_whole(b"", 20, 1000)
