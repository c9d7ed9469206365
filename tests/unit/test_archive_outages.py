"""Archives under a storage that fails, and archives that change, while their directories are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sluice.domain import ListedObject
from sluice.errors import ReadBrokenOff, ReadRefused, SourceError
from sluice.objects import Archives, Folder
from sluice.settings import read_settings
from tests.support import archives

TRIES = 20
"""Many more than an archive has before it is given up."""


class Storage(Folder):
    """A folder whose reads fail as `fails` says of a key: with the error that it returns."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fails: Callable[[bytes], SourceError | None] = lambda _: None
        self.before_read: Callable[[], None] = lambda: None

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        self.before_read()
        if error := self.fails(key):
            raise error
        return super().read_range_now(key, etag, first, length)


class Narrow(Folder):
    """A folder behind a network that breaks off beyond so many bytes of a read, and at one byte of `a.zip`."""

    def __init__(self, root: Path, carried: int) -> None:
        super().__init__(root)
        self.carried = carried
        self.broken = -1

    def read_range_now(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        if length > self.carried or (key == b"a.zip" and first <= self.broken < first + length):
            raise ReadBrokenOff("reset")
        return super().read_range_now(key, etag, first, length)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    for name in ("a.zip", "b.tar", "c.zip"):
        make = archives.tarred if name.endswith("tar") else archives.zipped
        (tmp_path / name).write_bytes(make({"x.jpg": b"1", "y.jpg": b"2"}))
    return Storage(tmp_path)


def tried(source: Archives) -> list[ListedObject] | SourceError:
    """Return a listing, or what ends it."""
    try:
        return [entry for page in source.list(b"") for entry in page]
    except SourceError as error:
        return error


def refused(found: list[ListedObject] | SourceError) -> dict[bytes, str]:
    assert isinstance(found, list), found
    return {entry.key: entry.reason.value for entry in found if entry.refused}


@pytest.mark.parametrize("kind", [ReadRefused, SourceError])
@pytest.mark.parametrize("only", [None, b"b.tar"])
def test_a_storage_that_gives_nothing_convicts_no_archive(
    storage: Storage, kind: type[SourceError], only: bytes | None
) -> None:
    source = Archives(storage, only, read_settings())
    storage.fails = lambda key: kind(f"{key!r}: 500")
    assert all(type(tried(source)) is kind for _ in range(TRIES))
    storage.fails = lambda _: None
    assert refused(tried(source)) == {}


def test_an_archive_that_alone_is_refused_is_given_up_in_the_end(storage: Storage) -> None:
    source = Archives(storage, None, read_settings())
    storage.fails = lambda key: ReadRefused("500") if key == b"a.zip" else None
    tries = 0
    while isinstance(found := tried(source), SourceError):
        tries += 1
        assert tries < TRIES
    assert refused(found) == {b"a.zip": "unreadable"}
    assert len([entry for entry in found if entry.key.startswith((b"b.tar!/", b"c.zip!/"))]) == 4


def test_refusals_of_an_outage_do_not_count_later(storage: Storage) -> None:
    source = Archives(storage, None, read_settings())
    storage.fails = lambda _: ReadRefused("500")
    for _ in range(TRIES):
        tried(source)
    storage.fails = lambda key: ReadRefused("500") if key == b"a.zip" else None
    assert isinstance(tried(source), ReadRefused)
    storage.fails = lambda _: None
    assert refused(tried(source)) == {}


def large(version: int) -> bytes:
    """Return a zip whose directory, its last half, takes several reads."""
    return archives.zipped({f"{number:05}-{version}-{'n' * 200}.jpg": b"%d" % version for number in range(9000)})


def test_a_network_that_breaks_off_beyond_some_bytes_lists_the_archive_whole(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(large(0))
    source = Archives(Narrow(tmp_path, 20_000), None, read_settings())
    found = tried(source)
    assert isinstance(found, list)
    assert len(found) == 9000 + 1
    assert refused(found) == {}


def test_breaks_at_one_place_after_the_other_convict_no_archive(tmp_path: Path) -> None:
    size = (tmp_path / "a.zip").write_bytes(large(0))
    (tmp_path / "b.zip").write_bytes(archives.zipped({"x.jpg": b"1"}))
    storage = Narrow(tmp_path, 2_000_000)
    source = Archives(storage, None, read_settings())
    for number in range(TRIES):
        storage.broken = size - 100_000 * (number + 1)
        assert isinstance(tried(source), ReadBrokenOff)
    storage.broken = -1
    assert refused(tried(source)) == {}


def test_an_archive_that_always_breaks_off_at_the_same_byte_is_given_up_in_the_end(tmp_path: Path) -> None:
    size = (tmp_path / "a.zip").write_bytes(large(0))
    (tmp_path / "b.zip").write_bytes(archives.zipped({"x.jpg": b"1"}))
    storage = Narrow(tmp_path, 2_000_000)
    storage.broken = size - 1_500_000
    source = Archives(storage, None, read_settings())
    tries = 0
    while isinstance(found := tried(source), SourceError):
        tries += 1
        assert tries < TRIES
    assert refused(found) == {b"a.zip": "unreadable"}
    assert found[-2].key == b"b.zip!/x.jpg", "the others are listed all the same"


def steps(place: Path, at: set[int]) -> Iterator[None]:
    """Replace an archive at some of its reads."""
    for number in count(1):
        if number in at:
            place.write_bytes(large(number))
        yield


def test_an_archive_that_is_replaced_while_its_directory_is_read_is_listed_as_the_new_one(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(large(0))
    storage = Storage(tmp_path)
    reads = steps(place, {3})
    storage.before_read = lambda: next(reads)
    found = tried(Archives(storage, b"a.zip", read_settings()))
    assert isinstance(found, list)
    whole = found[-1]
    assert (whole.archive_etag, whole.refused) == (storage.head_now(b"a.zip").etag, "")
    new = [entry for entry in found[:-1] if entry.etag.startswith(f"{whole.archive_etag}!")]
    assert [entry.key.split(b"-")[1] for entry in new] == [b"3"] * 9000
    # What came before has the old archive's ETag: whoever reads one of those finds what is there now.
    old = found[: -len(new) - 1]
    assert old
    assert all(b"-0-" in entry.key and not entry.refused for entry in old)


def test_an_archive_that_never_stays_the_same_is_told_as_such(tmp_path: Path) -> None:
    place = tmp_path / "a.zip"
    place.write_bytes(large(0))
    (tmp_path / "b.zip").write_bytes(archives.zipped({"x.jpg": b"1"}))
    storage = Storage(tmp_path)
    reads = steps(place, set(range(3, 1000, 2)))
    storage.before_read = lambda: next(reads)
    source = Archives(storage, None, read_settings())
    found = tried(source)
    assert isinstance(found, list)
    assert refused(found) == {b"a.zip": "changing"}
    (told,) = [entry for entry in found if entry.refused]
    assert "replaced 5 times while its directory was read" in told.refused
    assert found[-2].key == b"b.zip!/x.jpg", "the others are listed all the same"
    storage.before_read = lambda: None
    assert refused(tried(source)) == {}
