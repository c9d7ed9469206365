"""Archives in a folder as a source: pages, cursors, changes during a read, and bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sluice.domain import ListedObject, check_source, go_inside, is_inside
from sluice.errors import ObjectError, SourceError, SourceMissing
from sluice.objects import Archives, Folder, ObjectChanged, open_source
from sluice.objects.archives.source import INLINE_UNPACKED
from sluice.settings import read_settings
from tests.support import archives

LIMIT = 10**8


def opened(place: Path | str, **settings: int) -> Archives:
    source = open_source(f"file://{place}", read_settings(**settings))
    assert isinstance(source, Archives)
    return source


def listed(source: Archives, after: bytes = b"") -> list[ListedObject]:
    return [entry for page in source.list(after) for entry in page]


def rows(source: Archives) -> dict[str, str]:
    """Return the rows of a listing: the ends of urls, and the reasons of refused entries."""
    return {
        entry.key.decode(errors="replace"): entry.reason.value if entry.refused else ""
        for entry in listed(source)
        if entry.refused or not entry.archive_etag
    }


def read(source: Archives, entry: ListedObject, limit: int = LIMIT) -> bytes:
    return asyncio.run(source.read(entry.key, entry.etag, limit))


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("s3://photos/x.zip", True),
        ("s3://photos/x.TAR", True),
        ("s3://photos/in/!/", True),
        ("s3://photos/x.zip/", False),
        ("s3://photos/", False),
    ],
)
def test_a_source_says_whether_it_is_read_inside(source: str, inside: bool) -> None:  # noqa: FBT001 - a table
    assert check_source(source) == source
    assert is_inside(source) is inside
    assert is_inside(go_inside(source))


def test_one_archive_or_all_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in.zip").mkdir()
    (tmp_path / "a.zip").write_bytes(archives.zipped({"x.jpg": b"1"}))
    (tmp_path / "in.zip" / "b.tar").write_bytes(archives.tarred({"./y.jpg": b"22"}))
    (tmp_path / "c.jpg").write_bytes(b"no archive")
    assert list(rows(opened(tmp_path / "a.zip"))) == ["a.zip!/x.jpg"]
    assert list(rows(opened(f"{tmp_path}/!/"))) == ["a.zip!/x.jpg", "in.zip/b.tar!/y.jpg"]
    assert list(rows(opened(tmp_path / "in.zip"))) == ["b.tar!/y.jpg"], "a folder may be called so too"
    assert isinstance(open_source(f"file://{tmp_path}", read_settings()), Folder)
    source = opened(tmp_path / "a.zip")
    (entry, whole) = listed(source)
    assert (read(source, entry), source.url(entry.key)) == (b"1", f"file://{tmp_path}/a.zip!/x.jpg")
    assert whole.archive_etag == whole.etag
    with pytest.raises(SourceMissing):
        listed(opened(tmp_path / "none.zip"))


def test_a_listing_goes_on_within_an_archive(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        (tmp_path / name).write_bytes(archives.zipped(archives.tiles(1200)))
    (tmp_path / "c.tar").write_bytes(archives.tarred(archives.tiles(1200)))
    source = opened(f"{tmp_path}/!/")
    pages = list(source.list(b""))
    assert [len(page) for page in pages] == [1000, 1000, 1000, 603]
    entries = [entry for page in pages for entry in page]
    assert len({entry.key for entry in entries}) == 3603
    for at in (0, 999, 1198, 1199, 1200, 1201, 2500, 3602):
        assert listed(source, entries[at].cursor) == entries[at + 1 :], at
    (tmp_path / "a.zip").write_bytes(archives.zipped(archives.tiles(3)))
    assert [entry.key for entry in listed(source, entries[500].cursor)][:4] == [
        *(f"a.zip!/{number:05}.jpg".encode() for number in range(3)),
        b"a.zip",
    ], "one that was replaced begins anew"
    (tmp_path / "a.zip").unlink()
    assert listed(source, entries[500].cursor) == entries[1201:]


def test_a_replaced_archive_replaces_its_members(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(archives.zipped({"x.jpg": b"1", "y.jpg": b"2", "z.jpg": b"3"}))
    source = opened(place)
    before = {entry.key: entry for entry in listed(source)}
    place.write_bytes(archives.zipped({"0.jpg": b"new", "y.jpg": b"2", "x.jpg": b"4444"}))
    after = {entry.key: entry for entry in listed(source)}
    with pytest.raises(ObjectChanged) as changed:
        read(source, before[b"a.zip!/x.jpg"])
    assert (changed.value.listed.key, changed.value.listed.etag) == (b"a.zip!/x.jpg", after[b"a.zip!/x.jpg"].etag)
    assert read(source, changed.value.listed) == b"4444"
    with pytest.raises(ObjectError) as gone:
        read(source, before[b"a.zip!/z.jpg"])
    assert gone.value.reason == "not_found"
    assert asyncio.run(source.head(b"a.zip!/y.jpg")).etag == after[b"a.zip!/y.jpg"].etag


def test_more_members_than_are_remembered_are_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archives.tarred({f"{number}.jpg": b"x" for number in range(5)}))
    source = Archives(Folder(tmp_path), b"a.tar", read_settings(), most_indexed=2)

    async def look() -> list[bytes]:
        return [(await source.head(b"a.tar!/%d.jpg" % number)).key for number in (0, 4, 2)]

    assert asyncio.run(look()) == [b"a.tar!/0.jpg", b"a.tar!/4.jpg", b"a.tar!/2.jpg"]
    with pytest.raises(ObjectError):
        asyncio.run(source.head(b"a.tar!/5.jpg"))


def test_an_archive_that_can_not_be_read_has_a_row_of_its_own(tmp_path: Path) -> None:
    whole = archives.zipped(archives.tiles(4))
    tar = archives.tarred(archives.tiles(4))
    for name, data in {
        "cut.zip": whole[:-60],
        "cut.tar": tar[: len(tar) // 3],
        "empty.zip": b"",
        "none.zip": archives.zipped({}),
        "no.tar": b"nothing of the kind" * 100,
        "good.zip": whole,
    }.items():
        (tmp_path / name).write_bytes(data)
    found = rows(opened(f"{tmp_path}/!/"))
    assert {key: reason for key, reason in found.items() if reason} == {
        "cut.zip": "archive_damaged",
        "cut.tar": "archive_damaged",
        "empty.zip": "empty",
        "no.tar": "archive_damaged",
    }
    assert "cut.tar!/00000.jpg" in found
    assert len([key for key in found if key.startswith("good.zip!/")]) == 4


def test_bounds_are_told_by_the_row_of_the_archive(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(archives.tarred({f"{number}.jpg": bytes(100) for number in range(5)}))
    assert list(rows(opened(place, archive_members=3)).values()) == ["", "", "", "archive_too_large"]
    assert list(rows(opened(place, archive_bytes=350)).values()) == ["", "", "", "archive_too_large"]
    place = tmp_path / "a.zip"
    place.write_bytes(archives.zipped({f"{number}.jpg": bytes(100) for number in range(5)}))
    assert list(rows(opened(place, archive_members=3)).values()) == ["archive_too_large"]
    assert list(rows(opened(place, archive_bytes=350)).values()) == ["", "", "", "archive_too_large"]


def test_members_that_share_bytes_are_a_bomb(tmp_path: Path) -> None:
    """Ten directory entries for one member: unpacked, each is as large as the archive."""
    place = tmp_path / "a.zip"
    place.write_bytes(archives.overlapping(10, b"x" * 5000))
    found = rows(opened(place))
    assert found.pop("a.zip") == "archive_damaged"
    assert set(found.values()) == {""}
    assert len(found) < 10


def test_a_member_that_grows_too_much_is_refused_until_the_setting_is_raised(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(archives.zipped({"white.bmp": bytes(5_000_000), "small.bmp": bytes(500_000)}))
    source = opened(place)
    white, small, _ = listed(source)
    assert (white.reason.value, small.refused) == ("member_ratio", "")
    with pytest.raises(ObjectError) as error:
        read(source, white)
    assert error.value.reason == "member_ratio"
    assert read(opened(place, archive_ratio=2000), white) == bytes(5_000_000)


def test_what_is_too_large_is_not_unpacked(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(archives.zipped({"x.jpg": bytes(1000)}))
    source = opened(place)
    entry, _ = listed(source)
    with pytest.raises(ObjectError) as error:
        read(source, entry, limit=999)
    assert error.value.reason == "too_large"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_first_counts(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(archives.zipped_pairs([("x.jpg", b"first"), ("x.jpg", b"second"), ("./x.jpg", b"third")]))
    source = opened(place)
    first, second, third, _ = listed(source)
    assert (first.key, second.key, third.key) == (b"a.zip!/x.jpg", b"a.zip!/x.jpg~1", b"a.zip!/x.jpg~2")
    assert read(source, first) == b"first"
    assert (second.reason, third.reason) == ("member_name", "member_name")
    assert "same name" in second.refused


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [["x.jpg", "x.jpg", "x.jpg~1"], ["x.jpg~2", "x.jpg", "x.jpg"]])
def test_no_member_takes_another_ones_row(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "a.zip").write_bytes(archives.zipped_pairs((name, b"1") for name in names))
    found = [entry for entry in listed(opened(tmp_path / "a.zip")) if b"!/" in entry.key]
    assert len({entry.key for entry in found}) == len(names)


def test_a_name_that_is_too_long_to_be_kept_is_told(tmp_path: Path) -> None:
    place = tmp_path / "a.tar"
    place.write_bytes(archives.tarred({"x" * 1100 + ".jpg": b"1"}))
    entry, _ = listed(opened(place))
    assert (entry.reason, len(entry.key)) == ("member_name", 1024)


def test_a_member_whose_bytes_are_damaged_is_told_when_it_is_read(tmp_path: Path) -> None:
    data = bytearray(archives.zipped({"x.jpg": bytes(range(256)) * 10}, 0))
    data[200] ^= 1
    place = tmp_path / "a.zip"
    place.write_bytes(bytes(data))
    source = opened(place)
    entry, _ = listed(source)
    with pytest.raises(ObjectError) as error:
        read(source, entry)
    assert error.value.reason == "member_damaged"


def test_own_headers_that_are_longer_than_expected_are_read(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(archives.aligned({"x.jpg": b"12345"}, 4096))
    source = opened(place)
    entry, _ = listed(source)
    assert read(source, entry) == b"12345"


def test_a_thousand_archives_of_one_member_share_pages(tmp_path: Path) -> None:
    data = archives.zipped({"x.jpg": b"1"})
    for number in range(600):
        (tmp_path / f"{number:04}.zip").write_bytes(data)
    assert [len(page) for page in opened(f"{tmp_path}/!/").list(b"")] == [1000, 200]


class HeldUp(Folder):
    """A folder whose reads wait until they may go on."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.closed: list[HeldUp] = []

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        self.asked.set()
        await self.may_go_on.wait()
        return await super().read_range(key, etag, first, length)

    def close(self) -> None:
        self.closed.append(self)


def test_what_is_being_read_is_read_to_its_end_when_its_source_is_closed(tmp_path: Path) -> None:
    """A job is paused, or a consumer has too many sources open: it must end no process, nor lose an object."""
    large = bytes(INLINE_UNPACKED)
    (tmp_path / "a.zip").write_bytes(archives.zipped({"x.jpg": large}))

    async def test() -> None:
        outer = HeldUp(tmp_path)
        source = Archives(outer, b"a.zip", read_settings())
        (entry, _) = listed(source)
        reading = asyncio.create_task(source.read(entry.key, entry.etag, LIMIT))
        await outer.asked.wait()
        source.close()
        assert outer.closed == []
        outer.may_go_on.set()
        assert await reading == large
        assert outer.closed == [outer]
        with pytest.raises(SourceError, match="opened again"):
            await source.read(entry.key, entry.etag, LIMIT)

    asyncio.run(test())
