"""The ledger's functions on a real server: jobs, listing, objects, predictions, progress."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from sluice.domain import ListedObject
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import (
    Database,
    LedgerCursor,
    ListingState,
    PageChanges,
    QuarantineEntry,
    again,
    jobs,
    listing,
    models,
    objects,
    predictions,
    progress,
)
from sluice.ledger.again import Repetition
from sluice.settings import Settings
from tests.support.ledger_rows import breaches, entries, ids_of, list_all, prediction, register, running_job

ODD_KEYS = [
    b" ",
    b"A.jpg",
    b"a.jpg",
    b"a.jpg ",
    b"a.jpg  ",
    b"a.jpg\x00",
    b"a/../b.jpg",
    b"back\\slash 'quote' \"double\" %s %(x)s",
    b"new\nline\r\ttab",
    "zürich/写真/📷.jpg".encode(),
    "u\u0308mlaut".encode(),
    "ümlaut".encode(),
    b"\xff\xfe\x80 is no UTF-8",
    b"k" * 1023 + b" ",
    b"k" * 1024,
]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://photos/1/", "nothing is under this prefix: prefixes are taken literally, '*' isn't a wildcard"),
        ("s3://photos/1/\n", "isn't a wildcard; it begins or ends with white space"),
        ("s3://photos/inbox/!/", "no archive with members is there"),
        ("s3://photos/empty.ZIP", "the archive has no members"),
    ],
)
def test_a_job_that_met_nothing_says_so(ledger: Database, source: str, said: str) -> None:
    job = running_job(ledger)
    ledger.run(lambda c: c.execute("UPDATE jobs SET source = %s WHERE id = %s", (source, job)))
    list_all(ledger, job, [])
    assert ledger.run(jobs.finish, job)
    ledger.run(jobs.set_message, job, "")  # as a producer does for jobs that are active no more
    found = ledger.run(jobs.get, job)
    assert found is not None
    assert found.message.endswith(said)


def test_a_job_from_submission_to_done(ledger: Database) -> None:
    job = running_job(ledger)
    assert [row.id for row in ledger.run(jobs.active)] == [job]
    assert not ledger.run(jobs.finish, job), "it is not listed"
    list_all(ledger, job, entries([b"a", b"b", b"c"]))
    ids = ids_of(ledger, job)
    assert not ledger.run(jobs.finish, job), "objects are pending"
    assert ledger.run(predictions.commit, [prediction(ids[b"a"], job), prediction(ids[b"b"], job)]) == {
        ids[b"a"],
        ids[b"b"],
    }
    assert ledger.run(objects.quarantine, [QuarantineEntry(ids[b"c"], "corrupt", "bad \udce9 detail")]) == 1
    assert ledger.run(jobs.finish, job)
    assert ledger.run(jobs.active) == []
    found = ledger.run(progress.progress, job)
    assert found is not None
    assert (found.state, found.listed, found.pending, found.done, found.quarantined) == (("done", 3, 0, 2, 1))
    assert found.listing_complete
    results = ledger.run(predictions.results, job)
    assert [(row.url, row.label, row.model) for row in results] == [
        ("s3://photos/a", "cat", "model@1"),
        ("s3://photos/b", "cat", "model@1"),
    ]
    assert results[0].top == (("cat", 0.75), ("dög", 0.25))
    assert ledger.run(predictions.results, job, after_id=results[0].object_id, limit=1) == results[1:]
    assert ledger.run(predictions.results, job, limit=2) == results
    assert breaches(ledger) == []


def test_keys_are_bytes_that_come_back_as_they_went_in(ledger: Database) -> None:
    """Case, trailing spaces and Unicode forms make different keys; any bytes up to 1,024 are a key."""
    job = running_job(ledger)
    page = entries(ODD_KEYS)
    list_all(ledger, job, page)
    ids = ids_of(ledger, job)
    assert sorted(ids) == sorted(ODD_KEYS)
    assert ledger.run(lambda c: listing.upsert_keys(c, job, reversed(page))) == PageChanges(0, 0)
    ledger.run(predictions.commit, [prediction(number, job) for number in ids.values()])
    urls = {row.object_id: row.url for row in ledger.run(predictions.results, job)}
    assert urls[ids[b"a.jpg  "]] == "s3://photos/a.jpg  "
    assert urls[ids["zürich/写真/📷.jpg".encode()]] == "s3://photos/zürich/写真/📷.jpg"
    assert urls[ids[b"\xff\xfe\x80 is no UTF-8"]].startswith("s3://photos/")
    assert breaches(ledger) == []


def test_a_folders_urls(ledger: Database) -> None:
    job = ledger.run(jobs.submit, "file:///data/photos/")
    list_all(ledger, job, entries([b"sub/a.jpg"]))
    ids = ids_of(ledger, job)
    ledger.run(objects.quarantine, [QuarantineEntry(ids[b"sub/a.jpg"], "empty", "")])
    assert [row.url for row in ledger.run(objects.list_quarantined)] == ["file:///data/photos/sub/a.jpg"]


def test_pages_move_the_cursor_and_repeats_begin_again(ledger: Database) -> None:
    job = running_job(ledger, repeats=2)

    def stands() -> ListingState:
        return ledger.run(listing.state, job)

    def add(keys: list[bytes], repeat_no: int, *, last: bool) -> PageChanges:
        page = entries(keys)
        return ledger.run(listing.add_page, job, page, repeat_no=repeat_no, last=last, repeats=2)

    assert stands() == ListingState(b"", 0, 0, complete=False, age_seconds=0.0)
    assert add([b"a", b"b"], 0, last=False) == PageChanges(2, 0)
    assert (stands().cursor, stands().repeat_no) == (b"b", 0)
    assert add([b"a", b"b"], 0, last=False) == PageChanges(0, 0), "a page that comes again adds nothing"
    assert add([b"c"], 0, last=True) == PageChanges(1, 0)
    assert (stands().cursor, stands().repeat_no, stands().complete) == (b"", 1, False)
    assert add([b"c"], 0, last=True) == PageChanges(0, 0), "the end of a repeat that comes again moves nothing"
    assert (stands().repeat_no, stands().passes) == (1, 0)
    assert add([b"a", b"b", b"c"], 1, last=True) == PageChanges(3, 0)
    assert (stands().repeat_no, stands().passes, stands().complete) == (2, 1, True)
    ledger.run(listing.restart, job)
    assert (stands().cursor, stands().repeat_no, stands().passes, stands().complete) == (b"", 0, 1, True)
    assert stands().age_seconds >= 0
    assert breaches(ledger) == []


def test_a_page_in_an_unusual_order_or_with_a_key_twice(ledger: Database) -> None:
    """Some S3 servers sort differently; still each key must have one row."""
    job = running_job(ledger)
    page = [ListedObject(key, "e", 1) for key in (b"b", b"a", b"c", b"a")]
    list_all(ledger, job, page)
    list_all(ledger, job, page)
    assert sorted(ids_of(ledger, job)) == [b"a", b"b", b"c"]
    assert ledger.run(listing.restart, job) is None
    assert ledger.run(listing.add_page, job, page, repeat_no=0, last=True, repeats=1) == PageChanges(0, 0)


def test_a_new_etag_supersedes_in_every_state(ledger: Database) -> None:
    job = running_job(ledger)
    list_all(ledger, job, entries([b"done", b"pending", b"quarantined", b"same"]))
    ids = ids_of(ledger, job)
    ledger.run(predictions.commit, [prediction(ids[b"done"], job), prediction(ids[b"same"], job)])
    ledger.run(objects.quarantine, [QuarantineEntry(ids[b"quarantined"], "empty", "")])
    changed = [*entries([b"done", b"pending", b"quarantined"], "new"), *entries([b"same"])]
    assert ledger.run(listing.upsert_keys, job, changed) == PageChanges(3, 3)
    newer = ids_of(ledger, job)
    assert sorted(newer) == [b"done", b"pending", b"quarantined"]
    assert min(newer.values()) > max(ids.values())
    late = [prediction(ids[b"done"], job, "late"), prediction(ids[b"pending"], job, "late")]
    assert ledger.run(predictions.commit, late) == set(), "bytes of the old version make no row"
    assert [row.object_id for row in ledger.run(predictions.results, job)] == [ids[b"same"]]
    now = ListedObject(b"pending", "newest", 3)
    assert ledger.run(listing.add_changed, job, {newer[b"pending"]: now}) == PageChanges(1, 1)
    assert ledger.run(listing.add_changed, job, {newer[b"pending"]: now}) == PageChanges(0, 0)
    found = ledger.run(progress.progress, job)
    assert found is not None
    assert (found.listed, found.pending, found.done, found.superseded) == (8, 3, 1, 4)
    assert breaches(ledger) == []


def test_a_change_that_is_found_late_opens_a_done_job_again(ledger: Database) -> None:
    """Another shard may notice new bytes after the old ones were committed and the job has ended."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a", b"b"]))
    ids = ids_of(ledger, job)
    ledger.run(predictions.commit, [prediction(number, job) for number in ids.values()])
    assert ledger.run(jobs.finish, job)
    for change in (
        lambda c: listing.add_changed(c, job, {ids[b"a"]: ListedObject(b"a", "new", 1)}),
        lambda c: listing.upsert_keys(c, job, entries([b"b"], "new")),
    ):
        assert ledger.run(change) == PageChanges(1, 1, reopened=True)
        assert [row.id for row in ledger.run(jobs.active)] == [job]
        assert breaches(ledger) == []
        rest = [prediction(number, job) for number in ids_of(ledger, job).values()]
        ledger.run(predictions.commit, rest)
        assert ledger.run(jobs.finish, job)
    assert ledger.run(listing.upsert_keys, job, entries([b"b"], "new")) == PageChanges(0, 0)
    assert ledger.run(jobs.active) == [], "nothing new: it stays done"


def test_a_change_and_the_end_of_its_job_at_the_same_time(settings: Settings, ledger: Database) -> None:
    """The end waits for the change, or the change reopens the job."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a"]))
    ids = ids_of(ledger, job)
    ledger.run(predictions.commit, [prediction(ids[b"a"], job)])
    changed, ends = threading.Event(), threading.Event()

    def change(cursor: LedgerCursor) -> None:
        listing.add_changed(cursor, job, {ids[b"a"]: ListedObject(b"a", "new", 1)})
        changed.set()
        assert ends.wait(60)

    def end(cursor: LedgerCursor) -> bool:
        assert changed.wait(60)
        ends.set()
        return jobs.finish(cursor, job)

    with Database(settings) as other, ThreadPoolExecutor(1) as thread:
        changing = thread.submit(other.run, change)
        assert not ledger.run(end)
        changing.result()
    assert breaches(ledger) == []


def test_a_clock_that_is_set_back_ages_no_listing(ledger: Database) -> None:
    """A watch job waits for its next pass by this age: at most watch_seconds, whatever the server's clock does."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a"]))
    ledger.run(lambda c: c.execute("UPDATE listings SET updated = updated + INTERVAL 1 HOUR"))
    assert ledger.run(listing.state, job).age_seconds == 0
    ledger.run(lambda c: c.execute("UPDATE listings SET updated = updated - INTERVAL 2 HOUR"))
    assert ledger.run(listing.state, job).age_seconds >= 3600


@pytest.mark.parametrize("shards", [1, 2, 3, 64])
def test_shards_share_the_pending_objects(ledger: Database, shards: int) -> None:
    """Each object belongs to one shard, whatever is pending elsewhere and however small the pages are."""
    job = running_job(ledger)
    page = entries(f"{number:06}".encode() for number in range(5000))
    list_all(ledger, job, page)
    everything = ids_of(ledger, job)
    found: list[int] = []
    for shard in range(shards):
        after = 0
        while True:
            rows = ledger.run(
                partial(objects.pending, job_id=job, after_id=after, limit=700, shard=shard, shards=shards)
            )
            assert all((row.id // 1024) % shards == shard for row in rows)
            assert [row.id for row in rows] == sorted(row.id for row in rows)
            found += [row.id for row in rows]
            if len(rows) < 700:
                break
            after = rows[-1].id
    assert sorted(found) == sorted(everything.values())
    assert len(set(found)) == len(found)


def test_what_a_person_may_ask_of_a_job(ledger: Database) -> None:
    register_id = ledger.run(register)
    job = ledger.run(jobs.submit, "s3://photos/2024", priority=3)

    def state(to: str) -> str:
        return ledger.run(jobs.change_state, job, to).state

    assert state("paused") == "paused"
    assert state("running") == "pending", "it never ran"
    assert ledger.run(jobs.start, job, register_id)
    assert not ledger.run(jobs.start, job, register_id)
    assert state("paused") == "paused"
    assert state("running") == "running"
    assert state("cancelled") == "cancelled"
    with pytest.raises(LedgerError, match="is cancelled"):
        state("running")
    with pytest.raises(LedgerError, match="no job 99"):
        ledger.run(jobs.change_state, 99, "paused")
    ledger.run(jobs.set_priority, job, -2)
    found = ledger.run(jobs.get, job)
    assert found is not None
    assert (found.source, found.priority, found.finished is not None) == ("s3://photos/2024", -2, True)
    assert ledger.run(jobs.get, 99) is None


@pytest.mark.parametrize(
    "source",
    [
        "",
        "photos",
        "s3://",
        "s3://PHOTOS",
        "s3://photos?x=1",
        "S3://photos",
        "s3://[photos",
        "s3:///x",
        "http://b/x",
        "file://host/x",
        "file:///\udce9",
        "s3://b/" + "x" * 1200,
    ],
)
def test_what_is_no_source_is_refused(ledger: Database, source: str) -> None:
    with pytest.raises(ConfigurationError):
        ledger.run(jobs.submit, source)


def test_models(ledger: Database) -> None:
    def add(version: str, digest: str) -> int:
        return ledger.run(models.register, "net", version, digest * 64, {"crop": 224}, ["a", "ß"]).id

    with pytest.raises(ConfigurationError, match="no live model"):
        ledger.run(models.resolve, "")
    first, second = add("1.0", "a"), add("2.0", "b")
    assert add("1.0", "a") == first
    with pytest.raises(ConfigurationError, match="another version"):
        add("1.0", "c")
    assert ledger.run(models.promote, "net", "1.0").live
    assert ledger.run(models.promote, "net", "2.0").live
    assert [model.live for model in ledger.run(models.list_models)] == [False, True]
    assert ledger.run(models.resolve, "").id == second
    assert ledger.run(models.resolve, "net").id == second
    found = ledger.run(models.resolve, "net@1.0")
    assert (found.id, found.preprocessing, found.labels) == (first, {"crop": 224}, ["a", "ß"])
    for spec in ("other", "net@3", "other@1.0", "@", "net@", "@1.0"):
        with pytest.raises(ConfigurationError):
            ledger.run(partial(models.resolve, spec=spec))
    ledger.run(models.register, "second", "1", "d" * 64, {}, [])
    ledger.run(models.promote, "second", "1")
    with pytest.raises(ConfigurationError, match="several"):
        ledger.run(models.resolve, "")


def test_a_running_jobs_objects_are_all_repeated_whatever_is_done_meanwhile(ledger: Database) -> None:
    """A watch job may be repeated while consumers are at it: each object goes from one state to the next."""
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a", b"b", b"c", b"d"]))
    ids = ids_of(ledger, job)
    ledger.run(predictions.commit, [prediction(ids[b"a"], job)])
    met, place, last = set[bytes](), b"", False
    while not last:
        page = ledger.run(again.read_page, Repetition(job), 1, place)
        met |= {entry.key for entry in page.objects}
        place, last = page.place, page.last
        ledger.run(predictions.commit, [prediction(ids[b"b"], job)])
        ledger.run(objects.quarantine, [QuarantineEntry(ids[b"c"], "empty", "")])
    assert met == set(ids)
