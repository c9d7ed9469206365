"""Parsing an archive's bytes, whoever made them: the result is members or an ObjectError, with bounded memory."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.errors import ObjectError
from sluice.objects.archives import tars, zips
from sluice.objects.archives.members import ArchiveMember, MemberPlace, ReadRange, SeenNames, etag_of, read_etag
from tests.support import archives

MOST: Final = 1000
Parser = Callable[[ReadRange, int, int], Iterator[ArchiveMember]]

NAMES = st.text(st.characters(exclude_characters="\0\\/:", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."} and not name.startswith("._")
)
FILES = st.dictionaries(NAMES.map(lambda name: f"{name}.jpg"), st.binary(max_size=2000), max_size=8)


def read_of(data: bytes) -> ReadRange:
    """Read from memory; parsers must not read more at once than a piece and a margin."""

    def read(offset: int, length: int) -> bytes:
        assert offset >= 0
        assert 0 < length <= zips.PIECE + tars.BLOCK
        return data[offset : offset + length]

    return read


def found(parser: Parser, data: bytes, most: int = MOST) -> list[ArchiveMember]:
    return list(parser(read_of(data), len(data), most))


def content(data: bytes, member: ArchiveMember) -> bytes:
    """Read a member as a fetch does: with only its ETag."""
    version, place = read_etag(etag_of("version", member))
    assert version == "version"
    assert place == member.place
    if place.kind == "t":
        return data[place.offset : place.offset + place.size]
    begin = place.offset + zips.data_begins(data[place.offset :])
    return zips.unpack(place, data[begin : begin + place.packed])


def contents(parser: Parser, data: bytes) -> dict[str, bytes]:
    return {member.name.decode(): content(data, member) for member in found(parser, data)}


@pytest.mark.parametrize("make", [archives.zipped, archives.piped, archives.zipped64], ids=lambda make: make.__name__)
@given(files=FILES)
def test_a_zip_gives_what_was_put_in(make: Callable[[dict[str, bytes]], bytes], files: dict[str, bytes]) -> None:
    data = make(files)
    assert contents(zips.read_zip, data) == files
    assert contents(zips.read_zip, b"#!/bin/sh\n" + data) == files, "with a program in front"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@given(files=st.dictionaries(st.from_regex(r"[a-z]{1,90}\.jpg", fullmatch=True), st.binary(max_size=2000), max_size=8))
def test_a_tar_gives_what_was_put_in(form: int, files: dict[str, bytes]) -> None:
    assert contents(tars.read_tar, archives.tarred(files, form)) == files


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_a_tar_are_read(form: int) -> None:
    files = {f"{'ü' * 300}/{number}.jpg": b"x" * number for number in (0, 1, 600)}
    assert contents(tars.read_tar, archives.tarred(files, form)) == files


@given(files=FILES, form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), data=st.data())
def test_a_broken_tar_ends_in_members_or_an_error(files: dict[str, bytes], form: int, data: st.DataObject) -> None:
    _breaks(tars.read_tar, archives.tarred(files, form), data)


@given(files=FILES, make=st.sampled_from([archives.zipped, archives.piped, archives.zipped64]), data=st.data())
def test_a_broken_zip_ends_in_members_or_an_error(
    files: dict[str, bytes], make: Callable[[dict[str, bytes]], bytes], data: st.DataObject
) -> None:
    _breaks(zips.read_zip, make(files), data)


def outcome(ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - the answer, or the reason of its error
    try:
        return ask()
    except ObjectError as error:
        return error.reason


def _breaks(parser: Parser, whole: bytes, data: st.DataObject) -> None:
    """Change some bytes, cut some off, and read what is left."""
    broken = bytearray(whole)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=6)):
        broken[at] = byte
    left = bytes(broken[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else broken)
    members = outcome(partial(found, parser, left))
    for member in members if isinstance(members, list) else []:
        if member.place is not None:
            read = outcome(partial(content, left, member))
            assert read == "member_damaged" or len(read) == member.size


@pytest.mark.parametrize("parser", [zips.read_zip, tars.read_tar])
@given(data=st.binary(max_size=3000))
@example(b"")
@example(b"PK\x05\x06" + bytes(18))
@example(b"PK\x05\x06" * 1000)
def test_any_bytes_end_in_members_or_an_error(parser: Parser, data: bytes) -> None:
    assert outcome(partial(found, parser, data)) in ("archive_damaged", [])


def refused(parser: Parser, data: bytes, most: int = MOST) -> ObjectError:
    with pytest.raises(ObjectError) as error:
        found(parser, data, most)
    return error.value


def test_what_is_no_file_of_its_owners_is_left_out() -> None:
    files = {"a/": b"", "a/b.jpg": b"1", "__MACOSX/a/._b.jpg": b"2", "a/.DS_Store": b"3", "Thumbs.db": b"4"}
    assert contents(zips.read_zip, archives.zipped(files)) == {"a/b.jpg": b"1"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            member = tarfile.TarInfo("odd.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("./._odd.jpg")
        archive.addfile(member)
        member = tarfile.TarInfo("./a/b.jpg")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    assert contents(tars.read_tar, buffer.getvalue()) == {"a/b.jpg": b"1"}


def test_of_a_shard_of_webdataset_the_pictures_count() -> None:
    assert list(contents(tars.read_tar, archives.webdataset(3))) == [f"{number:06}.jpg" for number in range(3)]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up.jpg", "member_name"),
        ("a/../../up.jpg", "member_name"),
        ("/etc/x.jpg", "member_name"),
        ("C:\\x.jpg", "member_name"),
        ("a\\..\\x.jpg", "member_name"),
        ("inner.zip", "nested_archive"),
        ("inner.tar.gz", "nested_archive"),
        ("..a/b..jpg", None),
    ],
)
def test_names_that_lead_astray_are_refused(name: str, reason: str | None) -> None:
    for parser, data in (
        (zips.read_zip, archives.zipped({name: b"1"})),
        (tars.read_tar, archives.tarred({name: b"1"})),
    ):
        assert [member.reason for member in found(parser, data)] == [reason]


def test_a_name_that_is_no_utf8_is_refused_unless_its_utf8_stands_beside_it() -> None:
    info = zipfile.ZipInfo("x.jpg")
    for extra, expected in ((b"", "member_name"), (_utf8_field(b"\xfc.jpg", "ü.jpg"), None)):
        info.extra = extra
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(info, b"1")
        data = buffer.getvalue().replace(b"x.jpg", b"\xfc.jpg")
        assert [member.reason for member in found(zips.read_zip, data)] == [expected]
    assert list(contents(zips.read_zip, data)) == ["ü.jpg"]


def _utf8_field(raw: bytes, name: str) -> bytes:
    value = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", zips.UTF8_NAME_FIELD, len(value)) + value


def test_what_is_encrypted_or_packed_by_other_methods_is_refused() -> None:
    (member,) = found(zips.read_zip, archives.encrypted(archives.zipped({"a.jpg": b"1"})))
    assert member.reason == "member_encrypted"
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        (member,) = found(zips.read_zip, archives.zipped({"a.jpg": b"1"}, method))
        assert member.reason == "member_compression"


def test_an_archive_that_is_cut_off_says_so() -> None:
    files = archives.tiles(10)
    error = refused(zips.read_zip, archives.zipped(files)[:-100])
    assert "cut off" in error.detail
    error = refused(zips.read_zip, archives.zipped(files)[100:])
    assert "beginning is missing" in error.detail
    tar = archives.tarred(files)
    error = refused(tars.read_tar, tar[:5000])
    assert "cut off" in error.detail
    error = refused(tars.read_tar, tar.rstrip(b"\0") + bytes(-len(tar.rstrip(b"\0")) % tars.BLOCK))
    assert "after 10 members: it may be cut off" in error.detail
    error = refused(tars.read_tar, b"\x1f\x8b" + bytes(600))
    assert "gzip" in error.detail


def test_too_many_members_are_refused_of_a_zip_before_any_is_read() -> None:
    files = archives.tiles(10)
    for data in (archives.zipped(files), archives.zipped64(files)):
        assert refused(zips.read_zip, data, 9).reason == "archive_too_large"
        assert len(found(zips.read_zip, data, 10)) == 10
    assert refused(tars.read_tar, archives.tarred(files), 9).reason == "archive_too_large"


def test_a_member_that_lies_about_its_size_or_bytes_is_damaged() -> None:
    data = archives.zipped({"a.jpg": b"a" * 1000})
    (member,) = found(zips.read_zip, data)
    assert member.place
    for wrong in (
        MemberPlace("d", 0, member.place.packed, 999, member.place.crc),
        MemberPlace("d", 0, member.place.packed, 1001, member.place.crc),
        MemberPlace("d", 0, member.place.packed, 1000, 0),
    ):
        begin = zips.data_begins(data)
        with pytest.raises(ObjectError) as error:
            zips.unpack(wrong, data[begin : begin + wrong.packed])
        assert error.value.reason == "member_damaged"
    with pytest.raises(ObjectError):
        zips.data_begins(b"PK\x01\x02" + bytes(100))


def test_a_bomb_is_unpacked_no_further_than_its_directory_says() -> None:
    packed = zlib.compressobj(9, wbits=-15)
    bomb = packed.compress(bytes(50_000_000)) + packed.flush()
    with pytest.raises(ObjectError) as error:
        zips.unpack(MemberPlace("d", 0, len(bomb), 100, 0), bomb)
    assert error.value.reason == "member_damaged"


@pytest.mark.parametrize("etag", ["", "abc", "abc!", "!s0.0.0.0", "abc!s1.2.3", "abc!s1.2.3.0", "abc!xnonsense.0"])
def test_an_etag_of_no_member_is_told(etag: str) -> None:
    with pytest.raises(ObjectError):
        read_etag(etag)


def test_a_refused_member_is_refused_again_when_it_is_read() -> None:
    (member,) = found(zips.read_zip, archives.encrypted(archives.zipped({"a.jpg": b"1"})))
    with pytest.raises(ObjectError) as error:
        read_etag(etag_of('e!"', member))
    assert error.value.reason == "member_encrypted"


@given(st.lists(st.binary(max_size=3), max_size=3000))
def test_seen_names_are_those_that_came_before(names: list[bytes]) -> None:
    seen, expected = SeenNames(), set[bytes]()
    for name in names:
        assert seen.add(name) is (name not in expected)
        expected.add(name)
