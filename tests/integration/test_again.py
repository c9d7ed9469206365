"""Jobs that repeat an earlier one's objects: a real producer and bucket; the test acts as the consumer."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from sluice.domain import ListedObject
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import (
    Database,
    JobProgress,
    LedgerCursor,
    Prediction,
    again,
    jobs,
    listing,
    models,
    objects,
    predictions,
    progress,
)
from sluice.ledger.again import Repetition
from sluice.protocol import Done
from sluice.settings import Settings
from tests.support.ledger_rows import ask, breaches
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, play, reasons, state, until
from tests.support.producer_servers import Photos


def add_version(database: Database, version: str) -> int:
    def work(cursor: LedgerCursor) -> int:
        return models.register(cursor, "m", version, version * 64, {}, ["label", "other"]).id

    return database.run(work)


def answer_all(settings: Settings, database: Database, job: int, said: Mapping[bytes, float]) -> set[bytes]:
    """Answer a job's objects with these scores, until it is done; return the keys that were inferred."""
    seen: set[bytes] = set()

    async def part(consumer: FakeConsumer) -> None:
        arriving = asyncio.create_task(consumer.work(120))  # never cancelled while a message may be on its way
        while state(database, job) != "done":
            await asyncio.wait({arriving}, timeout=1)
            if not arriving.done():
                continue
            work = arriving.result()
            arriving = asyncio.create_task(consumer.work(120))
            rows = []
            found = await asyncio.to_thread(database.run, jobs.get, job)
            model_id = found.model_id or 0 if found else 0
            for object_id, (item, data) in work.items():
                seen.add(item.key)
                score = said[item.key]
                content = hashlib.sha256(data or b"").digest()
                rows.append(Prediction(object_id, job, model_id, "label", score, (("label", score),), content, "test"))
            await asyncio.to_thread(database.run, predictions.commit, rows)
            await consumer.say(Done(list(work)))
        arriving.cancel()
        await consumer.leave()

    play(settings, part, name=f"of-{job}")
    return seen


def submit(database: Database, source: str, model: str) -> int:
    return database.run(jobs.submit, source, model)


def results(database: Database, job: int) -> dict[str, float]:
    rows = ask(database, "SELECT url, score FROM results WHERE job = %s", job)
    return {row["url"].rpartition("/")[2]: row["score"] for row in rows}


def test_only_what_is_asked_for_and_still_the_same_is_answered_again(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """What is new in the bucket isn't listed, what changed or is gone isn't answered, and what matches is."""
    photos.put(a=b"one", b=b"two", c=b"three", d=b"four", e=b"")
    add_version(database, "2")
    start()
    first = submit(database, f"s3://{photos.bucket}", "m@1")
    answer_all(own_settings, database, first, {b"a": 0.2, b"b": 0.4, b"c": 0.9, b"d": 0.3})
    photos.put(b=b"changed", new=b"five")
    photos.delete("d")
    some = database.run(again.submit, Repetition(first, below=0.6, label="label"), "m@2")
    assert answer_all(own_settings, database, some, {b"a": 0.5}) == {b"a"}
    assert results(database, some) == {"a": 0.5}
    assert reasons(database) == {"e": "empty", "b": "changed_since", "d": "not_found"}
    everything = database.run(again.submit, Repetition(first), "m@2")
    assert answer_all(own_settings, database, everything, {b"c": 0.8}) == {b"c"}
    # `a` was answered by the version already: it is copied.
    assert results(database, everything) == {"a": 0.5, "c": 0.8}
    (copied,) = ask(
        database, "SELECT consumer FROM predictions WHERE job_id = %s AND consumer LIKE 'copied%%'", everything
    )
    (original,) = ask(database, "SELECT object_id FROM predictions WHERE job_id = %s", some)
    assert copied["consumer"] == f"copied from object {original['object_id']}"
    assert breaches(database) == []


def test_equal_content_under_another_key_is_copied_if_the_key_still_holds_it(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    photos.put(a=b"same", b=b"same", c=b"same too")
    add_version(database, "2")
    start()
    first = submit(database, f"s3://{photos.bucket}", "m@1")
    answer_all(own_settings, database, first, {b"a": 0.1, b"b": 0.1, b"c": 0.1})
    one = database.run(again.submit, Repetition(first), "m@2")
    ask(database, "UPDATE jobs SET again_label = 'label' WHERE id = %s", one)
    answer_all(own_settings, database, one, {b"a": 0.5, b"b": 0.5, b"c": 0.7})
    photos.put(c=b"other")
    second = database.run(again.submit, Repetition(first), "m@2")
    assert answer_all(own_settings, database, second, {}) == set()
    assert results(database, second) == {"a": 0.5, "b": 0.5}
    assert reasons(database)["c"] == "changed_since"
    assert breaches(database) == []


def test_members_of_an_archive_are_repeated(
    own_settings: Settings, database: Database, photos: Photos, start: Start, tmp_path: Path
) -> None:
    import zipfile  # noqa: PLC0415 - of this test alone

    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a", "b"):
            archive.writestr(name, name * 10)
    photos.client.put_object(Bucket=photos.bucket, Key="x.zip", Body=path.read_bytes())
    start()
    first = submit(database, f"s3://{photos.bucket}/x.zip", "m@1")
    keys = {b"x.zip!/a": 0.5, b"x.zip!/b": 0.5}
    answer_all(own_settings, database, first, keys)
    second = database.run(again.submit, Repetition(first), "m@1")
    assert answer_all(own_settings, database, second, {}) == set()
    assert len(results(database, second)) == 2
    assert breaches(database) == []


def test_killed_at_any_page_it_goes_on(database: Database, photos: Photos, start: Start) -> None:
    """A producer that is killed while it lists leaves whole pages; the next one goes on, and copies nothing twice."""
    keys = [b"%05d" % number for number in range(2300)]
    photos.put(**{key.decode(): b"x" for key in keys})
    etag = hashlib.md5(b"x").hexdigest()
    add_version(database, "2")
    first = _answered(database, photos.bucket, "m@1", {key: int(key) % 50 for key in keys}, etag)
    _answered(database, photos.bucket, "m@2", {b"other%d" % number: number for number in range(0, 50, 2)}, etag)
    second = database.run(again.submit, Repetition(first), "m@2")
    for kill in range(3):
        producer = start()
        until(lambda before=1000 * kill: _progress(database, second).listed > before, 120)  # type: ignore[misc]
        producer.send_signal(signal.SIGKILL)
        producer.wait()
        seen = _progress(database, second)
        assert seen.listed in {1000, 2000, 2300}, "a page is there as a whole, with its copies, or not at all"
        assert seen.done == seen.listed // 2
        assert breaches(database) == []
    start()
    until(lambda: _progress(database, second).listing_complete)
    seen = _progress(database, second)
    assert (seen.listed, seen.done, seen.pending) == (2300, 1150, 1150)
    rows = ask(database, "SELECT object_key FROM objects WHERE job_id = %s", second)
    assert {row["object_key"] for row in rows} == set(keys)


def _progress(database: Database, job: int) -> JobProgress:
    found = database.run(progress.progress, job)
    assert found
    return found


def _answered(database: Database, bucket: str, model: str, contents: Mapping[bytes, int], etag: str) -> int:
    """Insert a done job, whose objects have these contents."""

    def work(cursor: LedgerCursor) -> int:
        job = jobs.submit(cursor, f"s3://{bucket}/", model)
        jobs.start(cursor, job, model_id := models.resolve(cursor, model).id)
        page = [ListedObject(key, etag, 1) for key in sorted(contents)]
        listing.add_page(cursor, job, page, repeat_no=0, last=True, repeats=1)
        top = (("label", 0.5),)
        predictions.commit(
            cursor,
            [
                Prediction(
                    row.id, job, model_id, "label", 0.5, top, hashlib.sha256(b"%d" % contents[row.key]).digest(), "test"
                )
                for row in objects.pending(cursor, job, 0, 100_000)
            ],
        )
        assert jobs.finish(cursor, job)
        return job

    return database.run(work)


def test_what_cannot_be_repeated_is_refused_at_once(database: Database) -> None:
    job = submit(database, "s3://photos", "m@1")
    ask(database, "UPDATE jobs SET model_id = 1 WHERE id = %s", job)
    with pytest.raises(LedgerError, match="no job 99"):
        database.run(again.submit, Repetition(99))
    with pytest.raises(LedgerError, match="pending"):
        database.run(again.submit, Repetition(job))
    ask(database, "UPDATE jobs SET state = 'done' WHERE id = %s", job)
    with pytest.raises(ConfigurationError, match=r"knows no label 'labell'.*models show m@1"):
        database.run(again.submit, Repetition(job, label="labell"))
    with pytest.raises(ConfigurationError, match="below"):
        database.run(again.submit, Repetition(job, below=1.5))
    ask(database, "UPDATE jobs SET pruned = CURRENT_TIMESTAMP(3) WHERE id = %s", job)
    with pytest.raises(LedgerError, match="prune"):
        database.run(again.submit, Repetition(job))


def test_a_job_whose_earlier_one_is_gone_fails_and_says_so(
    own_settings: Settings, database: Database, start: Start
) -> None:
    del own_settings
    ask(database, "INSERT INTO jobs (source, again_of) VALUES ('s3://photos/', 77)")
    start()
    until(lambda: state(database, 1) == "failed")
    found = database.run(jobs.get, 1)
    assert found
    assert "job 77" in found.message
