"""Folders as sources: order, resuming, links, and files that change during a read."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.errors import ConfigurationError, ObjectError, SourceError, SourceMissing
from sluice.objects import Bucket, Folder, ObjectChanged, open_source
from sluice.settings import read_settings

MIB = 1024 * 1024


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def keys(folder: Folder, after: bytes = b"") -> list[bytes]:
    return [listed.key for page in folder.list(after) for listed in page]


def test_keys_come_in_byte_order_of_whole_paths(tmp_path: Path) -> None:
    names = ["a.txt", "a/b", "a-b", "a0", "b/c/d", "ü", "new\nline", "B"]
    write(tmp_path, *names)
    assert keys(Folder(tmp_path)) == sorted(name.encode() for name in names)


@given(st.data())
def test_listing_resumes_after_any_key(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    root = tmp_path_factory.mktemp("r")
    part = st.sampled_from(["a", "b", "a-", "a.", "ab"])
    paths = data.draw(st.lists(st.lists(part, min_size=1, max_size=3).map("/".join), max_size=8))
    for path in paths:
        if not any((root / parent).is_file() for parent in Path(path).parents) and not (root / path).is_dir():
            write(root, path)
    everything = keys(Folder(root))
    assert everything == sorted(everything)
    for place, key in enumerate(everything):
        assert keys(Folder(root), key) == everything[place + 1 :]


def test_pages_hold_at_most_a_thousand(tmp_path: Path) -> None:
    write(tmp_path, *(f"{n:04}" for n in range(1500)))
    assert [len(page) for page in Folder(tmp_path).list(b"")] == [1000, 500]


def test_links_out_of_the_folder_pipes_and_loops_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, "real")
    write(tmp_path, "secret")
    (root / "inside").symlink_to("real")
    (root / "outside").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    told: list[int] = []
    assert keys(Folder(root, told.append)) == [b"inside", b"real"]
    assert told == [3], "the pipe is no link"
    for key in (b"outside", b"pipe", b"../secret", b"gone", b"loop"):
        with pytest.raises(ObjectError, match="not_found"):
            asyncio.run(Folder(root).read(key, "x", MIB))


def test_reads_the_bytes_of_the_etag(tmp_path: Path) -> None:
    write(tmp_path, "a")
    folder = Folder(tmp_path)
    (((listed,),),) = (list(folder.list(b"")),)
    assert asyncio.run(folder.read(b"a", listed.etag, MIB)) == b"a"
    assert asyncio.run(folder.head(b"a")) == listed
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(ObjectChanged) as changed:
        asyncio.run(folder.read(b"a", listed.etag, MIB))
    assert changed.value.listed == asyncio.run(folder.head(b"a"))
    with pytest.raises(ObjectError, match="too_large"):
        asyncio.run(folder.read(b"a", changed.value.listed.etag, 4))


def test_an_absent_folder_is_the_sources_fault(tmp_path: Path) -> None:
    write(tmp_path / "root", "a")
    folder = Folder(tmp_path / "root")
    with pytest.raises(SourceMissing, match="isn't a folder"):
        list(Folder(tmp_path / "none").list(b""))
    (tmp_path / "root").rename(tmp_path / "away")
    with pytest.raises(SourceError) as error:
        asyncio.run(folder.read(b"a", "x", MIB))
    assert not isinstance(error.value, ObjectError)


@pytest.mark.parametrize("source", ["", "bucket", "s3://", "s3:bucket", "file://relative", "http://x/y", "file:/x"])
def test_what_is_no_source_is_said(source: str) -> None:
    with pytest.raises(ConfigurationError, match="isn't a source"):
        open_source(source, read_settings())


def test_sources_are_opened_by_their_scheme(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    write(tmp_path / "with space", "a")
    for name in ("with space", "with%20space"):
        folder = open_source(f"file://{tmp_path}/{name}", read_settings())
        assert isinstance(folder, Folder)
        assert keys(folder) == [b"a"]
    bucket = open_source("s3://photos/2024/", read_settings())
    assert isinstance(bucket, Bucket)
    assert bucket.url(b"2024/a\xff.jpg") == "s3://photos/2024/a\\xff.jpg"


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the source's root, which may well be readable."""
    (tmp_path / "deep" / "shut").mkdir(parents=True)
    scandir = os.scandir

    def refuse(path: bytes) -> Iterator[os.DirEntry[bytes]]:
        if path.rstrip(b"/").endswith(b"shut"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"/deep/shut can't be listed: Permission denied"):
        list(open_source(f"file://{tmp_path}", read_settings()).list(b""))


@pytest.mark.parametrize("end", ["", "/", "/!/", ".zip", "/%41"])
def test_a_path_that_no_folder_can_have_is_the_sources_fault(tmp_path: Path, end: str) -> None:
    """A row in `jobs` names it: its job fails, and the producer goes on with the others."""
    with pytest.raises(SourceMissing, match="correct the job's source"):
        list(open_source(f"file://{tmp_path}/{'long' * 100}{end}", read_settings()).list(b""))
