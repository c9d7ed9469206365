"""The archives that a watch job's pass skips."""

from __future__ import annotations

from dataclasses import replace

from producer.known_archives import KnownArchives
from sluice.domain import ListedObject, Reason

ARCHIVE = ListedObject(b"a.zip", "e", 9)
OPENED = replace(ARCHIVE, archive_etag="e")


def test_an_archive_is_known_once_its_last_page_is_written_and_as_long_as_it_stays() -> None:
    known = KnownArchives()
    known.note([ListedObject(b"a.zip!/x.jpg", "e!s0.0.0.0", 1)])
    assert not known.passes_over(ARCHIVE)
    known.note([OPENED])
    assert known.passes_over(ARCHIVE)
    assert not known.passes_over(replace(ARCHIVE, etag="other"))
    known.end_pass()
    assert known.passes_over(ARCHIVE)
    known.end_pass()
    assert known.passes_over(ARCHIVE)
    known.end_pass()
    known.end_pass()
    assert not known.passes_over(ARCHIVE), "a pass didn't meet it: it was away"


def test_what_may_mend_without_other_bytes_is_read_again() -> None:
    known = KnownArchives()
    for reason, settled in ((Reason.ARCHIVE_DAMAGED, True), (Reason.ACCESS_DENIED, False), (Reason.UNREADABLE, False)):
        entry = replace(ARCHIVE, key=reason.encode(), archive_etag="e", etag="e!x", refused="why", reason=reason)
        known.note([entry])
        assert known.passes_over(replace(ARCHIVE, key=reason.encode())) is settled
