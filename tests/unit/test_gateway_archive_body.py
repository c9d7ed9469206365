"""An uploaded archive's name, its first bytes, and the form that it comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import Request

from gateway.uploads.body import ArchiveBody
from gateway.uploads.names import archive_name, check_head
from sluice.errors import RequestError
from tests.support import archives

FORM = b"""--cut\r
Content-Disposition: form-data; name="model"\r
\r
resnet18@1.0\r
--cut\r
Content-Disposition: form-data; name="file"; filename="holiday.zip"\r
Content-Type: application/zip\r
\r
PK\x03\x04 bytes\r\n--cu and more\r
--cut\r
Content-Disposition: form-data; name="priority"\r
\r
7\r
--cut--\r
"""


def body_of(data: bytes, step: int) -> ArchiveBody:
    """Return a form as a request brings it, so many bytes at a time."""

    async def come() -> AsyncIterator[dict[str, object]]:
        for at in range(0, len(data), step):
            yield {"type": "http.request", "body": data[at : at + step], "more_body": at + step < len(data)}

    events = come()
    headers = [(b"content-type", b"multipart/form-data; boundary=cut")]
    return ArchiveBody(Request({"type": "http", "method": "POST", "headers": headers}, events.__anext__))


async def whole(body: ArchiveBody) -> bytes:
    return b"".join([chunk async for chunk in body.chunks()])


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1000])
def test_a_form_is_taken_apart_wherever_it_is_cut(step: int) -> None:
    body = body_of(FORM, step)
    assert asyncio.run(whole(body)) == b"PK\x03\x04 bytes\r\n--cu and more"
    assert body.name == "holiday.zip"
    assert body.fields == {"model": "resnet18@1.0", "priority": "7"}


@pytest.mark.parametrize("end", range(1, len(FORM) - 4, 5))
def test_a_form_that_ends_early_is_refused(end: int) -> None:
    with pytest.raises(RequestError):
        asyncio.run(whole(body_of(FORM[:end], 50)))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("holiday.zip", "holiday.zip"),
        ("C:\\pictures\\holiday.ZIP", "holiday.ZIP"),
        ("../../etc/holiday.tar", "holiday.tar"),
        (" ferien übers meer.zip ", "ferien übers meer.zip"),
    ],
)
def test_a_name_is_kept_without_its_folders(said: str, name: str) -> None:
    assert archive_name(said) == name


@pytest.mark.parametrize("said", ["", ".zip", "a.jpg", "a.tar.gz", "a.tgz", "a.zip/", "a\n.zip", "a" * 98 + ".zip"])
def test_a_name_that_is_no_archives_is_refused(said: str) -> None:
    with pytest.raises(RequestError):
        archive_name(said)


def test_the_first_bytes_and_the_name_go_together() -> None:
    zipped, tarred = archives.zipped(archives.tiles(1)), archives.tarred(archives.tiles(1))
    check_head("a.zip", zipped[:512])
    check_head("a.zip", archives.zipped({}))
    check_head("a.TAR", tarred[:512])
    check_head("a.tar", archives.webdataset(1)[:512])
    # Old tars have no magic word: their first header adds up.
    old = tarred[:257] + bytes(8) + tarred[265:512]
    total = sum(old[:148]) + 8 * ord(" ") + sum(old[156:])
    check_head("a.tar", old[:148] + b"%06o\0 " % total + old[156:])
    for name, head in (("a.zip", tarred[:512]), ("a.tar", zipped[:512]), ("a.zip", b""), ("a.tar", bytes(512))):
        with pytest.raises(RequestError):
            check_head(name, head)
