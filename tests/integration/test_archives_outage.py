"""Archives in a bucket that is out of reach, or breaks off, while their directories are read: none is ever given up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Final

import pytest

from sluice.domain import ListedObject
from sluice.errors import ObjectError, SourceError
from sluice.objects import Archives, open_source
from sluice.settings import Settings
from tests.support import archives
from tests.support.producer_servers import RefusingProxy
from tools.stack import S3Server
from tools.stack.proxy import Proxy, ProxyLoop

TRIES: Final = 8
"""More than an archive has before it is given up for its own fault."""
MEMBERS: Final = 6000
NAMES: Final = ("large.zip", "small.tar", "small.zip")


@pytest.fixture
def filled(s3: S3Server, bucket: str) -> str:
    """Put archives into the bucket; the directory of one takes several reads."""
    long = {f"{number:05}-{'n' * 200}.jpg": b"x" for number in range(MEMBERS)}
    small = {"x.jpg": b"1", "y.jpg": b"2"}
    for name, data in zip(NAMES, (archives.zipped(long), archives.tarred(small), archives.zipped(small)), strict=True):
        s3.client.put_object(Bucket=bucket, Key=name, Body=data)
    return bucket


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with ProxyLoop() as loop:
        yield loop.add(s3.port)


def opened(settings: Settings, bucket: str, endpoint: str) -> Archives:
    own = {"s3_endpoint": endpoint, "s3_timeout": 0.5}
    source = open_source(f"s3://{bucket}/!/", settings.model_copy(update=own))
    assert isinstance(source, Archives)
    return source


def tried(source: Archives) -> list[ListedObject]:
    """Return what a listing gives; nothing, where the storage as a whole keeps it from its end."""
    found: list[ListedObject] = []
    try:
        for page in source.list(b""):
            found += page
    except ObjectError:
        raise
    except SourceError:
        found = []
    return found


def check(found: list[ListedObject]) -> None:
    """Make sure that nothing is given up, and that whatever comes to its end is whole."""
    assert [(entry.key, entry.refused) for entry in found if entry.refused] == []
    if found:
        assert len([entry for entry in found if not entry.archive_etag]) == MEMBERS + 4
        assert [entry.key.decode() for entry in found if entry.archive_etag] == list(NAMES)


def test_connections_that_break_off_convict_no_archive(s3_settings: Settings, filled: str, proxy: Proxy) -> None:
    source = opened(s3_settings, filled, f"http://127.0.0.1:{proxy.port}")
    faults = cycle([proxy.cut, proxy.half_close, proxy.vanish])
    proxy.slow(0.005)
    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(lambda: [tried(source) for _ in range(TRIES)])
        while not listing.done():
            next(faults)()
            time.sleep(0.05)
    for found in listing.result():
        check(found)
    proxy.heal()
    healed(source)


def test_a_storage_that_hangs_convicts_no_archive(s3_settings: Settings, filled: str, proxy: Proxy) -> None:
    source = opened(s3_settings, filled, f"http://127.0.0.1:{proxy.port}")
    check(tried(source))
    proxy.hang()
    assert [tried(source) for _ in range(TRIES)] == [[]] * TRIES
    proxy.heal()
    healed(source)


@pytest.mark.parametrize("status", [(500, "InternalError"), (503, "SlowDown"), (400, "Nonsense")])
def test_a_storage_that_refuses_every_read_convicts_no_archive(
    s3_settings: Settings, s3: S3Server, filled: str, status: tuple[int, str]
) -> None:
    """Listings are answered all the while: what the storage keeps is out of its reach."""
    proxy = RefusingProxy(s3.endpoint)
    source = opened(s3_settings, filled, proxy.endpoint)
    proxy.refused = dict.fromkeys(NAMES, status)
    assert [tried(source) for _ in range(TRIES)] == [[]] * TRIES
    assert proxy.refusals >= TRIES
    proxy.refused = {}
    healed(source)
    proxy.close()


def healed(source: Archives) -> None:
    """Have a listing come to its end, now that nothing is in its way."""
    deadline = time.monotonic() + 60
    while not (found := tried(source)):
        assert time.monotonic() < deadline
    check(found)
    source.close()
