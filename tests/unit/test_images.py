from __future__ import annotations

import io
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
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sluice.domain import Reason
from sluice.images import BatchError, ImageError, Preprocessing, decode, decode_sized, pack, unpack
from sluice.images.preprocessing import INTERPOLATIONS
from tests.support.corpus import PHOTO_SIZE, SPEC, Case, corpus, photo, saved, with_orientation, write_corpus
from tools.bench import fidelity
from tools.bench.fidelity import by_the_recipe

MAX_PIXELS = 100_000_000
CORPUS = corpus()

# pytest resets the filter that sluice.images sets; one test below checks warnings itself.
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
        assert (caught.value.reason, case.reason in set(Reason)) == (case.reason, True), caught.value.detail
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
            assert error.reason in set(Reason)  # noqa: PT017 - either outcome is right


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
    """16 bits mean 0 to 65,535: stretching the actual range would turn night into day."""
    data = saved(Image.fromarray(np.full((300, 300), 2570, np.uint16)), "PNG")
    assert decode(data, SPEC, MAX_PIXELS)[5, 5].tolist() == [10, 10, 10]


def apart(data: bytes, spec: Preprocessing) -> NDArray[np.int64]:
    """Return each value's difference in levels from torchvision's Resize and CenterCrop."""
    ours, theirs = decode(data, spec, MAX_PIXELS), by_the_recipe(data, spec)
    return np.abs(ours.astype(np.int64) - theirs.astype(np.int64))


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return an image whose neighbouring pixels are unrelated, some of them black and white."""
    dice = np.random.default_rng((width, height))
    values = dice.integers(-128, 384, (height, width, len(mode))).clip(0, 255).astype(np.uint8)
    return Image.fromarray(values if len(mode) > 1 else values[:, :, 0])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_photos_become_what_torchvision_makes_of_them(interpolation: str) -> None:
    spec = replace(SPEC, interpolation=interpolation)
    for sample in fidelity.corpus(16, short_sides=(150, 256, 257, 375, 511, 768)):
        found = apart(sample.data, spec)
        assert (found <= 1).mean() >= 0.999, (sample.kind, sample.size, found.max())


@given(
    sides=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    sizes=st.sampled_from(((256, 224), (232, 224), (257, 224), (224, 224), (99, 64), (1, 1))),
    interpolation=st.sampled_from(INTERPOLATIONS),
    mode=st.sampled_from(("L", "RGB")),
)
@example(sides=(3000, 1), sizes=(16, 12), interpolation="bicubic", mode="RGB")
@example(sides=(1, 3000), sizes=(17, 12), interpolation="bilinear", mode="L")
@example(sides=(127, 318), sizes=(99, 64), interpolation="bicubic", mode="RGB")
@example(sides=(901, 300), sizes=(256, 224), interpolation="bicubic", mode="RGB")
@settings(max_examples=40, deadline=None)
def test_any_size_becomes_what_torchvision_makes_of_it(
    sides: tuple[int, int], sizes: tuple[int, int], interpolation: str, mode: str
) -> None:
    """Rows of one pixel, odd margins, portraits: sizes and origin are rounded like torchvision's."""
    if sizes[0] ** 2 * max(sides) / min(sides) > 1_000_000:
        sizes = (16, 12)  # torchvision uses all of the long side
    spec = replace(SPEC, resize=sizes[0], crop=sizes[1], interpolation=interpolation)
    found = apart(saved(noise(*sides, mode), "BMP"), spec)
    assert found.max() <= 2
    assert (found > 1).sum() <= max(9, found.size // 1000)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(401, 333), (300, 901), (901, 300)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_turned_image_becomes_what_the_upright_one_does(
    orientation: int, size: tuple[int, int], interpolation: str
) -> None:
    """An odd margin has one more pixel on one side, and tall images are resized in another order: as seen upright."""
    for resize in (255, 257):
        spec = replace(SPEC, resize=resize, interpolation=interpolation)
        found = apart(with_orientation(noise(*size), orientation, "PNG"), spec)
        assert found.max() <= 2
        assert (found > 1).mean() <= 0.001


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_transparency_is_resized_as_pillow_does(interpolation: str) -> None:
    """Invisible colours must not bleed into visible ones."""
    spec = replace(SPEC, interpolation=interpolation)
    image = noise(500, 375, "RGBA")
    whole = image.resize((341, 256), Image.Resampling[interpolation.upper()]).crop((58, 16, 58 + 224, 16 + 224))
    shown = np.asarray(Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB"), int)
    found = np.abs(decode(saved(image, "PNG"), spec, MAX_PIXELS).astype(int) - shown)
    assert (found <= 1).mean() >= 0.999


@pytest.mark.parametrize("size", [(1024, 700), (1537, 1536), (3072, 3072), (4200, 4100)])
def test_libjpeg_scales_only_what_is_much_too_large(size: tuple[int, int]) -> None:
    data = saved(photo(size), "JPEG", quality=90)
    assert (apart(data, SPEC) <= 1).mean() >= 0.999


@pytest.mark.parametrize("size", [(40, 30), (300, 400), (2600, 2000)])
def test_the_size_is_that_of_the_file_whatever_is_made_of_it(size: tuple[int, int]) -> None:
    """The last is scaled by libjpeg; a turned one is as wide as its file says."""
    for orientation in (3, 6):
        data = with_orientation(photo(size), orientation, "JPEG")
        pixels, told = decode_sized(data, SPEC, 10**7)
        assert told == Image.open(io.BytesIO(data)).size
        assert np.array_equal(pixels, decode(data, SPEC, 10**7))


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
    """The archive includes sluice.images, and the errors and the domain below it."""
    program = "import sys, sluice.images; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {".".join(name.split(".")[:2]) for name in done.stdout.split() if name.startswith(("sluice.", "torch"))}
    assert loaded == {"sluice.domain", "sluice.errors", "sluice.images"}


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


def test_preprocessing_of_a_newer_sluice_is_refused_rather_than_approximated() -> None:
    with pytest.raises(ValueError, match=r"version is 3: this Sluice knows 1 to 2.*upgrade Sluice"):
        Preprocessing.from_dict({**SPEC.to_dict(), "version": 3})


def test_preprocessing_survives_json_and_refuses_nonsense() -> None:
    assert Preprocessing.from_dict(SPEC.to_dict()) == SPEC
    without = {name: value for name, value in SPEC.to_dict().items() if name != "version"}
    assert Preprocessing.from_dict(without) == replace(SPEC, version=1)
    for wrong in (
        {"crop": 300},
        {"interpolation": "nearest"},
        {"std": (0.0, 1.0, 1.0)},
        {"mean": (1.0,)},
        {"more": 1},
        {"version": 0},
    ):
        with pytest.raises(ValueError, match=r"crop|interpolation|mean and std|more|version is 0"):
            Preprocessing.from_dict({**SPEC.to_dict(), **wrong})
    for name in SPEC.to_dict().keys() - {"interpolation"}:
        with pytest.raises(ValueError, match="preprocessing: "):
            Preprocessing.from_dict({**SPEC.to_dict(), name: None})
