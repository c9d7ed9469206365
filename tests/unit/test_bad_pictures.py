"""Labelled pictures that are wrong in many ways: each is told of by what is wrong and where."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from sluice.errors import ConfigurationError, SluiceError, TrainingError
from sluice.ledger.trainings import Wish, check_wish
from sluice.settings import read_settings
from tests.support.labelled_pictures import KINDS, drawing, labelled
from trainer.manifest import Manifest
from trainer.pictures.inspection import Inspection
from trainer.pictures.labelled import Labels, from_rows, read_labels_at
from trainer.pictures.looking import PictureReader
from trainer.progress import TrainingProgress

Files = dict[str, bytes]

FINE: Final = labelled()
CIRCLES: Final = {key: data for key, data in FINE.items() if key.startswith("circle")}
SQUARES: Final = {key: data for key, data in FINE.items() if key.startswith("square")}


def moved(files: Files, folder: str) -> Files:
    return {f"{folder}/{key.rpartition('/')[2]}": data for key, data in files.items()}


def few(files: Files, count: int) -> Files:
    return dict(list(files.items())[:count])


def spoiled(files: Files, data: bytes, count: int) -> Files:
    return {key: data if number < count else whole for number, (key, whole) in enumerate(files.items())}


def csv_of(files: Files, line: str = "{url},{label}", head: str = "url,label\n") -> Files:
    lines = [line.format(url=key, label=key.partition("/")[0]) for key in files]
    return {"labels.csv": (head + "\n".join(lines)).encode(), **files}


def blank(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def zipped(files: Files) -> Files:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for key, data in files.items():
            opened.writestr(key, data)
    return {"all.zip": file.getvalue()}


CUT: Final = drawing("circle", 500)[:60]
SAME: Final = drawing("circle", 0)

REFUSED: Final[dict[str, tuple[Files, str, str]]] = {
    # what is wrong -> files, the source below their folder, what is told
    "nothing there": ({}, "", "no pictures"),
    "only hidden files": ({"circle/.DS_Store": b"x", "__MACOSX/circle/1.png": b"x"}, "", "no pictures"),
    "no folders": ({key.replace("/", "-"): data for key, data in FINE.items()}, "", "no folder says what they show"),
    "one class": (CIRCLES, "", "all pictures are of one class, 'circle'"),
    "one class, the other empty": ({**CIRCLES, "square/.keep": b""}, "", "all pictures are of one class"),
    "a folder too high": (moved(FINE, "labelled"), "", "one class, 'labelled'"),
    "too few of both": ({**few(CIRCLES, 3), **few(SQUARES, 2)}, "", "'circle' has 3, 'square' has 2"),
    "too few of one": ({**CIRCLES, **few(SQUARES, 4)}, "", "'square' has 4"),
    "too few that differ": ({**CIRCLES, **dict.fromkeys(SQUARES, blank(3))}, "", "'square' has 1"),
    "too few that can be read": ({**CIRCLES, **spoiled(SQUARES, CUT, 9)}, "", "that can be read"),
    "none of a class can be read": ({**CIRCLES, **dict.fromkeys(SQUARES, b"no picture")}, "", "can't be read|has 0"),
    "most can't be read": (dict.fromkeys(FINE, b"no picture"), "", "24 of 24 pictures can't be read"),
    "all are empty": (dict.fromkeys(FINE, b""), "", "can't be read"),
    "all are cut off": ({key: data[:60] for key, data in FINE.items()}, "", "can't be read"),
    "texts instead of pictures": (dict.fromkeys(FINE, b"<html>not found</html>"), "", "can't be read"),
    "capital and small letters": (
        {**CIRCLES, **SQUARES, **moved(few(CIRCLES, 6), "Circle")}, "", "'Circle', 'circle' are classes of their own",
    ),
    "hyphen and underscore": (
        {**moved(CIRCLES, "hot-dog"), **moved(SQUARES, "hot_dog")}, "", "look like one",
    ),
    "blanks in names": ({**moved(CIRCLES, "hot dog"), **moved(SQUARES, "hot  dog")}, "", "look like one"),
    "the same under two labels": ({**CIRCLES, **moved(CIRCLES, "square")}, "", "under two labels, 12 times"),
    "some under two labels": ({**FINE, "square/x.png": SAME}, "", "under two labels, 1 times"),
    "a folder for each picture": ({f"{number}/a.png": blank(number) for number in range(20)}, "", "'0' has 1"),
    "a label that is too long": ({**FINE, **moved(CIRCLES, "x" * 129)}, "", "can't be a label"),
    "a label that can't be shown": ({**FINE, **moved(CIRCLES, "a\u202eb")}, "", "can't be a label"),
    "a zip in which nothing has a folder": (
        zipped({key.replace("/", "-"): data for key, data in FINE.items()}), "all.zip", "no folder says",
    ),
    "a zip with one class": (zipped(CIRCLES), "all.zip", "one class"),
    "a zip that is none": ({"all.zip": b"PK no"}, "all.zip", "no pictures"),
    "a CSV without lines": ({"labels.csv": b"url,label\n"}, "labels.csv", "names no picture"),
    "an empty CSV": ({"labels.csv": b""}, "labels.csv", "names no picture"),
    "a CSV of one column": (csv_of(FINE, "{url}", ""), "labels.csv", "line 1: 1 columns"),
    "a CSV without url": (csv_of(FINE, head="path,label\n"), "labels.csv", "has no column url"),
    "a CSV without label": (csv_of(FINE, head="url,class\n"), "labels.csv", "has no column label"),
    "a CSV with an empty label": (csv_of(FINE, "{url},"), "labels.csv", "row 1: .* has no label"),
    "a CSV with an empty url": (csv_of(FINE, ",{label}"), "labels.csv", "row 1: .* no url"),
    "a CSV that is no UTF-8": ({"labels.csv": b"url,label\na.png,caf\xe9\n"}, "labels.csv", "isn't UTF-8"),
    "a CSV with an open quotation mark": (csv_of(FINE, '"{url},{label}'), "labels.csv", "no CSV that can be read"),
    "a CSV of web addresses": (csv_of(FINE, "https://example.com/{url},{label}"), "labels.csv", "no url of a picture"),
    "a CSV of pictures that aren't there": (csv_of(FINE, "gone/{url},{label}"), "labels.csv", "can't be read"),
    "a CSV of one class": (csv_of(FINE, "{url},all"), "labels.csv", "one class"),
    "a CSV of names as labels": (csv_of(FINE, "{url},{url}"), "labels.csv", "has 1"),
    "a CSV with every picture under two labels": (
        {"labels.csv": b"\n".join(f"{key},{kind}".encode() for key in FINE for kind in KINDS[:2]), **FINE},
        "labels.csv", "under two labels",
    ),
    "a CSV that isn't there": ({}, "labels.csv", "can't be read"),
    "a CSV whose delimiter is a blank": (csv_of(FINE, "{url} {label}", ""), "labels.csv", "columns"),
}  # fmt: skip

TOLD: Final[dict[str, tuple[Files, str]]] = {
    "a picture that can't be read": ({**FINE, "circle/x.png": CUT}, "1 pictures can't be read.*circle/x.png"),
    "a text among pictures": ({**FINE, "circle/readme.txt": b"hello"}, "can't be read.*readme.txt"),
    "a picture beside the folders": ({**FINE, "x.png": blank(1)}, "no folder says what they show.*x.png"),
    "a picture twice": ({**FINE, "circle/x.png": SAME}, "byte for byte"),
    "few pictures": (FINE, "few pictures.*'circle' has 12"),
    "very many of one class": (
        {**{f"circle/{number}.png": drawing("circle", number) for number in range(110)}, **few(SQUARES, 5)},
        "'circle' has 110 pictures, 'square' 5",
    ),
    "nearly the same on both sides": (
        {**FINE, **{f"circle/b{level}.png": blank(level) for level in range(200, 230)}},
        "look nearly like one that is learned from",
    ),
    "few under two labels": (
        {
            **{f"{kind}/{n}.png": drawing(kind, n) for kind in KINDS[:2] for n in range(60)},
            "square/x.png": drawing("circle", 0),
        },
        "1 pictures stand under two labels",
    ),
}

WRONG_WISHES: Final = {
    "no name": (Wish(""), "can't be a model's name"),
    "a name with capitals": (Wish("Drugs"), "can't be a model's name"),
    "a name that is a path": (Wish("../drugs"), "can't be a model's name"),
    "a version in words": (Wish("drugs", version="new"), "can't be a version"),
    "a version that no model can have": (Wish("drugs", version=".."), "can't be a version"),
    "a source that is no url": (Wish("drugs", "photos/labelled"), "isn't a source"),
    "a bucket that can't be": (Wish("drugs", "s3://My_Bucket/"), "isn't a bucket name"),
    "a test that is no url": (Wish("drugs", "s3://photos/", test="two"), "isn't a source"),
    "a base that is a path": (Wish("drugs", "s3://photos/", base="../x"), "can't be a base"),
    "a seed below zero": (Wish("drugs", "s3://photos/", seed=-1), "the seed is -1"),
}

Inspect = Callable[..., Manifest]


def put(folder: Path, files: Files) -> None:
    for key, data in files.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    """Return what puts files into a folder, and looks at them as a trainer does."""

    def work(files: Files, source: str = "", test: Files | None = None, most: int = 1000) -> Manifest:
        put(tmp_path / "given", {**files, ".there": b""})
        settings = read_settings(trainer_pictures=most)
        url = f"file://{tmp_path}/given/{source}"
        tested, test_url = Labels(), ""
        if test is not None:
            put(tmp_path / "test", {**test, ".there": b""})
            test_url = f"file://{tmp_path}/test/"
            tested = read_labels_at(test_url, settings, most)
        with asyncio.Runner() as runner, closing(PictureReader(settings)) as reader:
            labels = read_labels_at(url, settings, most)
            return Inspection(settings, reader, TrainingProgress()).inspect(labels, tested, url, test_url, runner)

    return work


@pytest.mark.parametrize("what", REFUSED)
def test_what_cant_be_learned_from_is_refused_with_the_cause(inspect: Inspect, what: str) -> None:
    files, source, told = REFUSED[what]
    with pytest.raises((TrainingError, SluiceError), match=told):
        inspect(files, source)


@pytest.mark.parametrize("what", TOLD)
def test_what_makes_a_model_worse_is_told(inspect: Inspect, what: str) -> None:
    files, told = TOLD[what]
    with pytest.raises(AssertionError, match=told):
        raise AssertionError("\n".join(inspect(files).findings))


@pytest.mark.parametrize("what", WRONG_WISHES)
def test_a_wish_that_cant_be_is_refused_before_there_is_a_row(what: str) -> None:
    wish, told = WRONG_WISHES[what]
    with pytest.raises(ConfigurationError, match=told):
        check_wish(wish)


def test_more_pictures_than_allowed_are_refused(inspect: Inspect) -> None:
    with pytest.raises(TrainingError, match="SLUICE_TRAINER_PICTURES"):
        inspect(FINE, most=10)


def test_a_test_may_not_show_what_is_learned_from(inspect: Inspect) -> None:
    others = {f"circle/{number}.png": drawing("circle", number) for number in range(100, 105)}
    found = inspect(FINE, test={**others, **few(CIRCLES, 2)})
    assert sum(side == "test" for side in found.sides) == len(others)
    assert any("a leak: left out of the test" in finding for finding in found.findings)
    assert any("the test has no picture of 'square'" in finding for finding in found.findings)


@pytest.mark.parametrize(
    ("test", "told"),
    [
        (FINE, "all pictures of the test are among those to learn from"),
        ({"triangle/1.png": drawing("triangle", 1)}, "classes that nothing teaches: 'triangle'"),
        ({}, "no pictures to test on"),
        ({"circle/1.png": b"x"}, "can't be read"),
    ],
)
def test_a_test_that_tells_nothing_is_refused(inspect: Inspect, test: Files, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        inspect(FINE, test=test)


def test_rows_are_refused_by_their_number() -> None:
    with pytest.raises(TrainingError, match=r"row 2: .* has no label"):
        from_rows([("s3://photos/1.jpg", "cat"), ("s3://photos/2.jpg", " ")], "the labels")
    with pytest.raises(TrainingError, match=r"row 1: .* names no object"):
        from_rows([("s3://photos", "cat")], "the labels")


def test_more_than_forty_ways_to_be_wrong_are_known() -> None:
    assert len(REFUSED) + len(TOLD) + len(WRONG_WISHES) >= 40
