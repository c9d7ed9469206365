"""Members that stand side by side and are asked for together are read by one request, and fail one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.domain import Reason
from sluice.errors import ObjectError, ReadRefused
from sluice.objects import Archives, Folder
from sluice.objects.archives import neighbours
from sluice.objects.archives.neighbours import NeighbourReader
from sluice.settings import read_settings
from tests.support import archives

BYTES = bytes(range(256)) * 4096
MEMBERS = 40


class CountingFolder(Folder):
    """A folder that notes the ranges that it is asked for, and refuses those that hold a bad byte."""

    def __init__(self, root: Path, bad: int = -1) -> None:
        super().__init__(root)
        self.asked: list[tuple[int, int]] = []
        self.bad = bad
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read_range(self, key: bytes, etag: str, first: int, length: int) -> bytes:
        self.asked.append((first, length))
        self.is_asked.set()
        await self.may_answer.wait()
        if first <= self.bad < first + length:
            raise ReadRefused(f"{first}: refused")
        return await super().read_range(key, etag, first, length)


@pytest.fixture
def folder(tmp_path: Path) -> CountingFolder:
    (tmp_path / "a.tar").write_bytes(BYTES)
    return CountingFolder(tmp_path)


def etag_of(folder: Folder, key: bytes = b"a.tar") -> str:
    return folder.head_now(key).etag


async def read_all(folder: CountingFolder, places: list[tuple[int, int]]) -> list[bytes | BaseException]:
    reader, etag = NeighbourReader(folder), etag_of(folder)
    reads = (reader.read(b"a.tar", etag, first, length) for first, length in places)
    return await asyncio.gather(*reads, return_exceptions=True)


@given(
    places=st.lists(
        st.tuples(st.integers(0, len(BYTES)), st.integers(1, 2 * neighbours.TOGETHER_BYTES)), min_size=1, max_size=12
    )
)
def test_each_has_its_own_bytes_and_no_request_is_large_by_others(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]
) -> None:
    """Ranges may overlap, repeat, or reach beyond the end."""
    root = tmp_path_factory.mktemp("ranges")
    (root / "a.tar").write_bytes(BYTES)
    folder = CountingFolder(root)

    found = asyncio.run(read_all(folder, places))

    assert found == [BYTES[first : first + length] for first, length in places]
    assert all(length <= neighbours.TOGETHER_BYTES or (first, length) in places for first, length in folder.asked)


def test_members_asked_for_together_are_few_requests(tmp_path: Path) -> None:
    """A storage is asked by groups, in zips and tars alike."""
    files = {f"{number:03}.jpg": bytes([number]) * 3000 for number in range(MEMBERS)}
    (tmp_path / "a.tar").write_bytes(archives.tarred(files))
    (tmp_path / "b.zip").write_bytes(archives.zipped(files))
    folder = CountingFolder(tmp_path)
    source = Archives(folder, None, read_settings())
    entries = [entry for page in source.list(b"") for entry in page if not entry.archive_etag]

    async def read() -> list[bytes]:
        return await asyncio.gather(*(source.read(entry.key, entry.etag, 10_000) for entry in entries))

    assert asyncio.run(read()) == [*files.values(), *files.values()]
    assert len(folder.asked) == 2 * MEMBERS / neighbours.TOGETHER


def test_what_is_far_away_is_read_alone(folder: CountingFolder) -> None:
    places = [(0, 100), (100 + neighbours.GAP + 1, 100)]
    asyncio.run(read_all(folder, places))
    assert sorted(folder.asked) == places


def test_a_refused_read_is_one_members_fault(folder: CountingFolder) -> None:
    """Its neighbours are read without it."""
    folder.bad = 150
    found = asyncio.run(read_all(folder, [(0, 100), (100, 100), (200, 100)]))
    assert found[0] == BYTES[:100]
    assert isinstance(found[1], ReadRefused)
    assert found[2] == BYTES[200:300]


def test_a_replaced_archive_is_told_to_each(folder: CountingFolder, tmp_path: Path) -> None:
    async def read() -> list[object]:
        reader, etag = NeighbourReader(folder), etag_of(folder)
        (tmp_path / "a.tar").write_bytes(b"another")
        return await asyncio.gather(
            *(reader.read(b"a.tar", etag, first, 100) for first in (0, 100)), return_exceptions=True
        )

    one, other = asyncio.run(read())
    assert isinstance(one, ObjectError)
    assert isinstance(other, ObjectError)
    assert one is not other
    assert Reason.of_code(one.reason) is None


@pytest.mark.parametrize("gone", [0, 1], ids=["who-reads-for-all", "who-waits-for-it"])
def test_nobody_waits_for_one_that_was_cancelled(folder: CountingFolder, gone: int) -> None:
    async def read() -> list[bytes | BaseException]:
        folder.may_answer.clear()
        reader, etag = NeighbourReader(folder), etag_of(folder)
        reads = [asyncio.ensure_future(reader.read(b"a.tar", etag, first, 100)) for first in (0, 100, 200)]
        await folder.is_asked.wait()
        reads[gone].cancel()
        await asyncio.wait([reads[gone]])
        folder.may_answer.set()
        return await asyncio.gather(*reads, return_exceptions=True)

    found = asyncio.run(read())
    assert isinstance(found.pop(gone), asyncio.CancelledError)
    assert found == [BYTES[first : first + 100] for first in (0, 100, 200) if first != gone * 100]


def test_one_cancelled_before_anything_is_read_is_in_no_group(folder: CountingFolder) -> None:
    async def read() -> bytes:
        reader, etag = NeighbourReader(folder), etag_of(folder)
        gone = asyncio.ensure_future(reader.read(b"a.tar", etag, 0, 100))
        stays = asyncio.ensure_future(reader.read(b"a.tar", etag, 100, 100))
        asyncio.get_running_loop().call_soon(gone.cancel)
        return await stays

    assert asyncio.run(read()) == BYTES[100:200]
