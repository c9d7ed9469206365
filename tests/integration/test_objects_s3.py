"""Buckets on a real S3 server, and faults that a real server doesn't show on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from sluice.domain import ListedObject
from sluice.errors import ObjectError, SourceError, SourceMissing
from sluice.objects import Bucket, ObjectChanged, open_source
from sluice.objects.s3 import NOT_PLAIN
from sluice.settings import Settings, read_settings
from tests.support.producer_servers import FaultyS3, Photos
from tools.stack import S3Server

MIB = 1024 * 1024
KEYS = [
    "plain.jpg",
    "a b/ü 日本 😀.jpg",
    " lead and trail ",
    "new\nline.jpg",
    "tab\t.jpg",
    "del\x7f.jpg",
    "percent% 100%.jpg",
    "hash#and?question=1&x",
    "quotes'\"`.jpg",
    "back\\slash{}[]^|<>*~",
    "dots..jpg/..a/.b",
    "é",  # composed
    "e\u0301",  # decomposed: another key
    "/".join(["s" * 200] * 5) + "/" + "t" * 19,
]


@pytest.fixture
def account(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the S3 account into the environment; return the server's endpoint."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.endpoint


@pytest.fixture
def photos(account: str, s3: S3Server, bucket: str) -> Photos:
    assert account
    return Photos(bucket, s3.client)


@pytest.fixture
def faulty(account: str) -> Iterator[FaultyS3]:
    assert account
    server = FaultyS3()
    yield server
    server.close()


@pytest.fixture(params=["direct", "obstore", "boto3"])
def settings(request: pytest.FixtureRequest, account: str) -> Settings:
    return read_settings(s3_endpoint=account, s3_client=request.param, s3_timeout=2.0)


def listed(source: Bucket, after: bytes = b"") -> list[ListedObject]:
    return [entry for page in source.list(after) for entry in page]


def opened(photos: Photos, settings: Settings, prefix: str = "") -> Bucket:
    source = open_source(f"s3://{photos.bucket}/{prefix}", settings)
    assert isinstance(source, Bucket)
    return source


def test_every_key_is_listed_and_read_as_it_is(photos: Photos, settings: Settings) -> None:
    for key in KEYS:
        photos.put_key(key, key.encode())
    photos.put_key("folder/", b"")
    source = opened(photos, settings)
    entries = listed(source)
    assert [entry.key for entry in entries] == sorted(key.encode() for key in KEYS)

    async def read_all() -> list[bytes]:
        return [await source.read(entry.key, entry.etag, MIB) for entry in entries]

    assert asyncio.run(read_all()) == [entry.key for entry in entries]
    source.close()


@pytest.mark.parametrize("key", ["/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\nb", "\x00", "a\x7f"])
def test_what_others_would_read_as_another_key_is_left_to_boto3(key: str) -> None:
    assert NOT_PLAIN.search(key)


def test_plain_keys_take_the_fast_way() -> None:
    assert not [key for key in KEYS if NOT_PLAIN.search(key) and not any(c in key for c in "\n\t\x7f")]


def test_listing_pages_and_resumes(photos: Photos, settings: Settings) -> None:
    photos.put(**{f"in/{n:04}": b"x" for n in range(3)}, out=b"x")
    source = opened(photos, settings, "in/")
    assert [entry.key for entry in listed(source)] == [b"in/0000", b"in/0001", b"in/0002"]
    assert [entry.key for entry in listed(source, b"in/0001")] == [b"in/0002"]


def test_a_replaced_object_is_changed_and_a_deleted_one_not_found(photos: Photos, settings: Settings) -> None:
    photos.put(a=b"first", b=b"gone")
    source = opened(photos, settings)
    first, gone = listed(source)
    photos.put(a=b"second!")
    photos.delete("b")
    with pytest.raises(ObjectChanged) as changed:
        asyncio.run(source.read(b"a", first.etag, MIB))
    assert changed.value.listed == listed(source)[0] == asyncio.run(source.head(b"a"))
    assert asyncio.run(source.read(b"a", changed.value.listed.etag, MIB)) == b"second!"
    for attempt in (source.read(b"b", gone.etag, MIB), source.head(b"b")):
        with pytest.raises(ObjectError) as error:
            asyncio.run(attempt)
        assert error.value.reason == "not_found"


def test_a_key_that_versitygw_lists_as_another_is_not_found(photos: Photos, settings: Settings) -> None:
    """Docs say so: XML has no such characters, and it doesn't encode keys as it is asked to."""
    photos.put_key("one\x01.jpg", b"bytes")
    source = opened(photos, settings)
    (entry,) = listed(source)
    assert entry.key == "one\ufffd.jpg".encode()
    with pytest.raises(ObjectError) as raised:
        asyncio.run(source.read(entry.key, entry.etag, MIB))
    assert raised.value.reason == "not_found"


def test_an_object_larger_than_the_limit_is_not_read(photos: Photos, settings: Settings) -> None:
    photos.put(a=b"12345")
    source = opened(photos, settings)
    with pytest.raises(ObjectError, match="too_large"):
        asyncio.run(source.read(b"a", listed(source)[0].etag, 4))


def test_an_absent_bucket_is_missing_and_an_absent_server_is_not(settings: Settings) -> None:
    with pytest.raises(SourceMissing, match="does not exist"):
        listed(Bucket("no-such-bucket-at-all", "", settings))
    away = read_settings(s3_endpoint="http://127.0.0.1:9", s3_timeout=0.5)
    with pytest.raises(SourceError, match="can't be reached") as error:
        listed(Bucket("b", "", away))
    assert not isinstance(error.value, SourceMissing)
    with pytest.raises(SourceError) as error:
        asyncio.run(Bucket("b", "", away).read(b"a", "e", MIB))
    assert not isinstance(error.value, ObjectError)


def test_wrong_credentials_are_the_buckets_fault(
    photos: Photos, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.put(a=b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    source = opened(photos, settings)
    with pytest.raises(SourceError, match="check credentials"):
        listed(source)
    with pytest.raises(SourceError) as error:
        asyncio.run(source.read(b"a", "e", MIB))
    assert not isinstance(error.value, ObjectError)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "access_denied"),
        (403, "InvalidObjectState", "archived"),
        (404, "NoSuchKey", "not_found"),
        (404, "", "not_found"),
        (400, "InvalidRequest", "unreadable"),
        (200, "xyz", "changed"),
        (400, "ExpiredToken", None),
        (403, "InvalidAccessKeyId", None),
        (403, "RequestTimeTooSkewed", None),
        (403, "SignatureDoesNotMatch", None),
        (500, "InternalError", None),
        (503, "SlowDown", None),
    ],
)
def test_whose_fault_it_is(faulty: FaultyS3, status: int, code: str, reason: str | None) -> None:
    """I5: only an object's own fault may quarantine it."""
    faulty.answers["key"] = (status, code)
    source = Bucket("b", "", read_settings(s3_endpoint=faulty.endpoint, s3_timeout=2.0))
    with pytest.raises(SourceError) as error:
        asyncio.run(source.read(b"key", "e", MIB))
    assert (error.value.reason if isinstance(error.value, ObjectError) else None) == reason


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, ""), (400, "InvalidRequest")])
def test_no_object_is_at_fault_where_the_bucket_can_not_be_listed(faulty: FaultyS3, status: int, code: str) -> None:
    faulty.answers["key"] = (status, code)
    faulty.listing = 403
    source = Bucket("b", "", read_settings(s3_endpoint=faulty.endpoint, s3_timeout=2.0))
    with pytest.raises(SourceError) as error:
        asyncio.run(source.read(b"key", "e", MIB))
    assert not isinstance(error.value, ObjectError)


def test_an_encoded_listing_is_decoded_and_an_archived_object_marked(faulty: FaultyS3) -> None:
    source = Bucket("b", "", read_settings(s3_endpoint=faulty.endpoint))
    assert listed(source) == [ListedObject("a b+c\nü.jpg".encode(), "e", 3, archived=True)]


def test_a_listing_that_says_not_where_it_goes_on_is_not_taken_for_whole(faulty: FaultyS3) -> None:
    """A server that knows the first version of listings only would have jobs that are done with a thousand images."""
    faulty.has_more = True
    pages = Bucket("b", "", read_settings(s3_endpoint=faulty.endpoint)).list(b"")
    assert len(next(pages)) == 1
    with pytest.raises(SourceError, match="doesn't say where"):
        next(pages)
