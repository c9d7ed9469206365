from __future__ import annotations

import random
import subprocess
import sys
import threading
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sluice.images import BatchError, ImageError, Preprocessing, decode, pack, unpack
from sluice.images.pixels import centre, square
from sluice.images.preprocessing import INTERPOLATIONS
from sluice.reasons import REASONS
from tests.corpus import PHOTO_SIZE, SPEC, Case, corpus, photo, saved, write_corpus

MAX_PIXELS = 100_000_000
CORPUS = corpus()

# pytest resets the filter that sluice.images sets; one test below looks at warnings itself.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning", "ignore::DeprecationWarning")


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_each_file_of_the_corpus_decodes_or_says_why_not(case: Case) -> None:
    if case.reason is None:
        pixels = decode(case.data, SPEC, MAX_PIXELS)
        assert pixels.shape == (224, 224, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert case.distance(pixels) <= case.near
    else:
        with pytest.raises(ImageError) as caught:
            decode(case.data, SPEC, MAX_PIXELS)
        assert (caught.value.reason, case.reason in REASONS) == (case.reason, True), caught.value.detail
        assert "0x" not in caught.value.detail, "an address in memory tells nobody anything"
        assert len(caught.value.detail) <= 500


def test_the_corpus_is_large_and_its_names_differ(tmp_path: Path) -> None:
    bad = [case for case in CORPUS if case.reason]
    assert len(bad) >= 60
    assert len(write_corpus(tmp_path)) == len(CORPUS)


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_raises_nothing_but_image_errors(seed: int) -> None:
    """Whatever the bytes, the answer is pixels or an ImageError."""
    for case in CORPUS:
        dice = random.Random(f"{seed} {case.name}")
        if not case.data or len(case.data) > 400_000:
            continue
        damaged = bytearray(case.data)
        end = len(damaged) if seed % 2 else min(len(damaged), 200)  # the header, or anywhere
        for _ in range(dice.choice((1, 4, 16))):
            damaged[dice.randrange(end)] = dice.randrange(256)
        if dice.random() < 0.3:
            del damaged[dice.randrange(len(damaged)) :]
        try:
            assert decode(bytes(damaged), SPEC, 4_000_000).shape == (224, 224, 3)
        except ImageError as error:
            assert error.reason in REASONS  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("name", ["whole-bomb.png", "claim.webp", "claim.tif", "claim-inside.ico"])
def test_too_many_pixels_are_refused_before_memory_is_taken(name: str) -> None:
    case = next(case for case in CORPUS if case.name == name)
    before = _peak_kilobytes()
    tracemalloc.start()
    with pytest.raises(ImageError):
        decode(case.data, SPEC, MAX_PIXELS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert _peak_kilobytes() - before < 50_000


def _peak_kilobytes() -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0])


def test_the_limit_itself_is_allowed() -> None:
    data = saved(photo(), "PNG")
    pixels = PHOTO_SIZE[0] * PHOTO_SIZE[1]
    decode(data, SPEC, pixels)
    with pytest.raises(ImageError, match=r"384 x 256|98304 pixels"):
        decode(data, SPEC, pixels - 1)


def test_nothing_is_warned_about() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for case in CORPUS:
            try:
                decode(case.data, SPEC, MAX_PIXELS)
            except ImageError:
                continue
    assert [str(warning.message) for warning in caught] == []


def test_transparency_shows_white() -> None:
    data = saved(Image.new("RGBA", (300, 300), (0, 0, 0, 0)), "PNG")
    assert decode(data, SPEC, MAX_PIXELS).min() == 255


def test_half_transparency_is_half_white() -> None:
    data = saved(Image.new("RGBA", (300, 300), (0, 0, 0, 128)), "PNG")
    assert abs(int(decode(data, SPEC, MAX_PIXELS)[100, 100, 0]) - 127) <= 1


def test_sixteen_bits_keep_a_dark_image_dark() -> None:
    """16 bits mean 0 to 65,535: stretching what is there would make night into day."""
    data = saved(Image.fromarray(np.full((300, 300), 2570, np.uint16)), "PNG")
    assert decode(data, SPEC, MAX_PIXELS)[5, 5].tolist() == [10, 10, 10]


def test_it_does_what_resize_then_crop_does() -> None:
    image = photo((768, 512))
    cropped = image.resize((384, 256), Image.Resampling.BILINEAR).crop((80, 16, 80 + 224, 16 + 224))
    ours = decode(saved(image, "PNG"), SPEC, MAX_PIXELS)
    assert np.abs(ours.astype(int) - np.asarray(cropped, int)).max() <= 1


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(3000, 2000), (300, 480), (90, 70)])
def test_the_resizer_gives_what_pillows_own_gives(size: tuple[int, int], mode: str, interpolation: str) -> None:
    """Of the largest, Pillow keeps the rows in several blocks of memory; the resizer reads them where they are."""
    image = photo(size).convert(mode)
    left, top, side = centre(image, SPEC)
    box = (left, top, left + side, top + side)
    pillows = image.resize((SPEC.crop, SPEC.crop), Image.Resampling[interpolation.upper()], box).convert("RGB")
    ours = square(image, replace(SPEC, interpolation=interpolation))
    apart = np.abs(np.asarray(ours, int) - np.asarray(pillows, int))
    # Bicubic overshoots at sharp edges, and the two cut what lies beyond 0 and 255 at different steps.
    assert apart.max() <= (1 if interpolation == "bilinear" else 8)
    assert apart.mean() < 0.25


def test_draft_never_goes_below_the_wanted_size() -> None:
    """A JPEG of twice the size may be decoded at half; of 1.9 times, not."""
    for size in ((1024, 512), (1000, 500), (511, 511), (256, 256), (100, 80)):
        plain = decode(saved(photo(size), "PNG"), SPEC, MAX_PIXELS)
        jpeg = decode(saved(photo(size), "JPEG", quality=95), SPEC, MAX_PIXELS)
        assert np.abs(plain.astype(int) - jpeg.astype(int)).mean() < 5


def test_threads_give_what_one_thread_gives() -> None:
    cases = [case for case in CORPUS if case.reason is None]
    expected = [decode(case.data, SPEC, MAX_PIXELS).tobytes() for case in cases]
    found: list[list[bytes]] = []

    def work() -> None:
        found.append([decode(case.data, SPEC, MAX_PIXELS).tobytes() for case in cases])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_decoding_needs_neither_torch_nor_the_rest_of_sluice() -> None:
    """The archive carries sluice.images alone."""
    program = "import sys, sluice.images; print({'torch', 'sluice.errors', 'sluice.settings'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_batch_comes_back_as_it_was_packed() -> None:
    images = [np.full((4, 5, 3), value, np.uint8) for value in (1, 2, 3)]
    body = pack(images)
    assert len(body) == 16 + 3 * 4 * 5 * 3
    assert np.array_equal(unpack(body), np.stack(images))
    assert np.array_equal(unpack(bytes(body)), np.stack(images))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "has 0 bytes"),
        (b"SLB1", "has 4 bytes"),
        (b"JFIF" + bytes(12), "begins with"),
        (bytes(pack([np.zeros((2, 2, 3), np.uint8)]))[:-1], "the body has 27"),
        (bytes(pack([np.zeros((2, 2, 3), np.uint8)])) + b"x", "the body has 29"),
        (b"SLB1" + bytes(12), "0 images"),
        (b"SLB1" + b"\xff" * 12, "images of"),
    ],
)
def test_what_is_no_batch_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(BatchError, match=said):
        unpack(body)


def test_images_of_different_sizes_are_not_packed() -> None:
    with pytest.raises(BatchError, match="expected uint8"):
        pack([np.zeros((2, 2, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)])
    with pytest.raises(BatchError, match="at least one"):
        pack([])


def test_preprocessing_survives_json_and_refuses_nonsense() -> None:
    assert Preprocessing.from_dict(SPEC.to_dict()) == SPEC
    for wrong in ({"crop": 300}, {"interpolation": "nearest"}, {"std": (0.0, 1.0, 1.0)}, {"mean": (1.0,)}, {"more": 1}):
        with pytest.raises(ValueError, match=r"crop|interpolation|mean and std|more"):
            Preprocessing.from_dict({**SPEC.to_dict(), **wrong})
