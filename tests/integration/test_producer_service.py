"""The producer as a process: a real database, a real bucket, real ZeroMQ; the test acts as the consumer."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from sluice.ledger import Database, jobs, objects, progress
from sluice.protocol import Bye, Done, Failed, Failure, Return
from sluice.settings import Settings
from tests.support.ledger_rows import ask
from tests.support.producer_fakes import FakeConsumer
from tests.support.producer_jobs import Start, commit, play, reasons, state, submit, until
from tests.support.producer_servers import Photos
from tools.stack import Servers
from tools.stack.ports import free_port


def test_a_bucket_flows_from_listing_to_done(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    photos.put(**{f"{n:02}.jpg": b"bytes %d" % n for n in range(20)}, empty=b"", large=b"x" * 3000, half=b"y" * 1500)
    submit(database, f"s3://{photos.bucket}")
    start(SLUICE_OBJECT_MAX_BYTES="2000", SLUICE_INLINE_MAX_BYTES="1000")

    async def part(consumer: FakeConsumer) -> None:
        seen: dict[bytes, bytes | None] = {}
        while len(seen) < 21:
            for object_id, (item, data) in (await consumer.work()).items():
                assert item.source == f"s3://{photos.bucket}/"
                assert not item.alone
                seen[item.key] = data
                await asyncio.to_thread(commit, database, [object_id])
                await consumer.say(Done([object_id]))
        assert seen.pop(b"half") is None, "large objects go as a reference"
        assert seen == {b"%02d.jpg" % n: b"bytes %d" % n for n in range(20)}

    play(own_settings, part)
    until(lambda: state(database) == "done")
    assert reasons(database) == {"empty": "empty", "large": "too_large"}


def test_a_job_whose_source_is_changed_waits_and_says_so(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """Its keys are those of the source that was listed: elsewhere they would be missing, or other pictures."""
    photos.put(a=b"a", b=b"b")
    listed = f"s3://{photos.bucket}/"
    job = submit(database, listed)
    start()

    async def part(consumer: FakeConsumer) -> None:
        held = await consumer.work()
        await asyncio.to_thread(ask, database, "UPDATE jobs SET source = 's3://elsewhere/' WHERE id = %s", job)
        await asyncio.to_thread(until, lambda: listed in database.run(progress.progress, job).message)  # type: ignore[union-attr]
        await consumer.say(Return(list(held)))
        await asyncio.to_thread(ask, database, "UPDATE jobs SET source = %s WHERE id = %s", listed, job)
        seen: set[bytes] = set()
        while len(seen) < 2:
            for object_id, (item, _) in (await consumer.work()).items():
                assert item.source == listed
                seen.add(item.key)
                await asyncio.to_thread(commit, database, [object_id])
                await consumer.say(Done([object_id]))

    play(own_settings, part)
    until(lambda: state(database) == "done")
    assert reasons(database) == {}
    assert database.run(progress.progress, job).message == ""  # type: ignore[union-attr]


def test_keys_that_cannot_be_read_end_a_standby_at_once(database: Database, start: Start, tmp_path: Path) -> None:
    assert database.hold_lock("sluice.producer.0")
    missing = str(tmp_path / "missing.key")
    assert start(SLUICE_CURVE_KEY=missing, SLUICE_CURVE_CLIENTS=str(tmp_path)).wait(60) == 2
    assert missing in (tmp_path / "producer.log").read_text()


def test_what_changes_after_the_listing_is_superseded_and_what_goes_is_not_found(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    photos.put(a=b"old", b=b"gone", c=b"stays")
    submit(database, f"s3://{photos.bucket}")
    start()
    until(lambda: database.run(progress.progress, 1).listing_complete)  # type: ignore[union-attr]
    photos.put(a=b"newer")
    photos.delete("b")

    async def part(consumer: FakeConsumer) -> None:
        seen: dict[bytes, bytes | None] = {}
        while len(seen) < 2:
            for object_id, (item, data) in (await consumer.work()).items():
                seen[item.key] = data
                await asyncio.to_thread(commit, database, [object_id])
                await consumer.say(Done([object_id]))
        assert seen == {b"a": b"newer", b"c": b"stays"}

    play(own_settings, part)
    until(lambda: state(database) == "done")
    assert reasons(database) == {"b": "not_found"}
    found = database.run(progress.progress, 1)
    assert found
    assert (found.listed, found.done, found.quarantined, found.superseded) == (4, 2, 1, 1)


def test_returned_failed_and_orphaned_objects(
    own_settings: Settings, database: Database, tmp_path: Path, start: Start
) -> None:
    """Returned objects come back unchanged; those that a consumer died with come alone; failed ones are quarantined."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text(name)
    submit(database, f"file://{folder}")
    start(SLUICE_HEARTBEAT="1")

    async def give_back_and_die(consumer: FakeConsumer) -> None:
        work: dict[int, Any] = {}
        while len(work) < 3:
            work |= await consumer.work()
        first, second, _ = work
        await consumer.say(Return([first]))
        await consumer.say(Failed([Failure(second, "corrupt", "test")]))
        await consumer.more(10)
        ((again, (item, data)),) = (await consumer.work()).items()
        assert (again, item.alone, data) == (first, False, work[first][1])

    async def take_over(consumer: FakeConsumer) -> None:
        for _ in range(2):
            ((object_id, (item, _)),) = (await consumer.work()).items()
            assert item.alone
            await asyncio.to_thread(commit, database, [object_id])
            await consumer.say(Done([object_id]))

    play(own_settings, give_back_and_die, name="first")
    play(own_settings, take_over, name="second")
    until(lambda: state(database) == "done")
    assert set(reasons(database).values()) == {"corrupt"}


def test_three_consumers_dying_on_one_object_quarantine_it(
    own_settings: Settings, database: Database, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "killer").write_text("x")
    submit(database, f"file://{tmp_path}/photos")
    start(SLUICE_HEARTBEAT="1")

    async def die(consumer: FakeConsumer) -> None:
        await consumer.work()

    for number in range(3):
        play(own_settings, die, name=f"victim {number}")
    until(lambda: reasons(database) == {"killer": "killed_consumers"})


def test_jobs_are_paused_resumed_and_cancelled_within_a_second(
    own_settings: Settings, database: Database, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(50):
        (tmp_path / "photos" / f"{number}").write_text("x")
    submit(database, f"file://{tmp_path}/photos")
    start()

    async def part(consumer: FakeConsumer) -> None:
        def change(to: str) -> None:
            database.run(jobs.change_state, 1, to)

        held = await consumer.work()
        await asyncio.to_thread(change, "paused")
        await asyncio.sleep(1.0)
        while await consumer.socket.poll(10):
            await consumer.hear()
        await consumer.say(Return(list(held)))
        consumer.received = 5
        await consumer.more(100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(consumer.work(), 1.0)
        await asyncio.to_thread(change, "running")
        assert await consumer.work()
        await asyncio.to_thread(change, "cancelled")

    play(own_settings, part, credit=5)
    assert state(database) == "cancelled"


def test_kill_9_and_sigterm_lose_nothing(
    own_settings: Settings, database: Database, photos: Photos, start: Start
) -> None:
    """A successor continues where the killed one was, while a standby waits; SIGTERM sends BYE and exits with 0."""
    photos.put(**{f"{n:02}": b"x" for n in range(30)})
    submit(database, f"s3://{photos.bucket}")
    first = start()

    async def some(consumer: FakeConsumer) -> None:
        ids = list(await consumer.work())
        await asyncio.to_thread(commit, database, ids[:1])
        await consumer.say(Done(ids[:1]))

    play(own_settings, some, credit=10)
    standby = start()
    first.kill()

    async def rest(consumer: FakeConsumer) -> None:
        done = 1
        while done < 30:
            ids = list(await consumer.work())
            await asyncio.to_thread(commit, database, ids)
            await consumer.say(Done(ids))
            done += len(ids)
        standby.send_signal(signal.SIGTERM)
        while not isinstance((await consumer.hear())[0], Bye):
            pass

    play(own_settings, rest, name="other")
    assert standby.wait(60) == 0
    found = database.run(progress.progress, 1)
    assert found
    assert (found.listed, found.done, found.pending) == (30, 30, 0)


def test_leases_outlive_a_database_that_is_killed(
    own_settings: Settings, database: Database, servers: Servers, tmp_path: Path, start: Start
) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number:02}").write_text("x")
    submit(database, f"file://{tmp_path}/photos")
    start(SLUICE_DATABASE_PATIENCE="1")

    async def part(consumer: FakeConsumer) -> None:
        held = list(await consumer.work())
        await asyncio.to_thread(servers.database.kill)
        await asyncio.sleep(3.0)
        await asyncio.to_thread(servers.start, servers.database)
        done: set[int] = set()
        await consumer.more(20)
        while len(done) < 20:
            await asyncio.to_thread(commit, database, held)
            await consumer.say(Done(held))
            assert not done & set(held), "nothing is delivered twice for it"
            done |= set(held)
            held = list(await consumer.work()) if len(done) < 20 else []

    play(own_settings, part, credit=5)
    until(lambda: state(database) == "done")
    assert reasons(database) == {}


def test_repeats_and_watch(own_settings: Settings, database: Database, tmp_path: Path, start: Start) -> None:
    """A job with two repeats delivers each key twice; a watch job finds later keys and supersedes changed ones."""
    for folder in ("repeated", "watched"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("x")
    submit(database, f"file://{tmp_path}/repeated", repeats=2)
    submit(database, f"file://{tmp_path}/watched", watch=True, watch_seconds=1)
    start()

    async def part(consumer: FakeConsumer) -> None:
        async def take(count: int) -> list[tuple[int, bytes]]:
            seen: list[tuple[int, bytes]] = []
            while len(seen) < count:
                for object_id, (item, _) in (await consumer.work()).items():
                    await asyncio.to_thread(commit, database, [object_id], item.job)
                    await consumer.say(Done([object_id]))
                    seen.append((item.job, item.key))
            return sorted(seen)

        assert await take(3) == [(1, b"a"), (1, b"a"), (2, b"a")]
        (tmp_path / "watched" / "b").write_text("new")
        (tmp_path / "watched" / "a").write_text("changed")
        assert await take(2) == [(2, b"a"), (2, b"b")]

    play(own_settings, part)
    until(lambda: state(database, 1) == "done")
    assert state(database, 2) == "running"
    found = database.run(progress.progress, 2)
    assert found
    assert (found.listed, found.done, found.superseded) == (3, 2, 1)


def test_two_shards_share_a_job(own_settings: Settings, database: Database, tmp_path: Path, start: Start) -> None:
    """Each block of 1,024 ids belongs to one shard; together they deliver all, each object once."""
    (tmp_path / "photos").mkdir()
    for number in range(2100):
        (tmp_path / "photos" / f"{number:04}").write_text("x")
    submit(database, f"file://{tmp_path}/photos")
    other = f"tcp://127.0.0.1:{free_port()}"
    start("--shards", "2", "--shard", "0")
    start("--shards", "2", "--shard", "1", "--bind", other)
    until(lambda: database.run(progress.progress, 1).listing_complete)  # type: ignore[union-attr]
    shares = [
        {row.id for row in database.run(objects.pending, 1, 0, 2100, shard=shard, shards=2)} for shard in range(2)
    ]
    assert all(shares)
    assert sum(map(len, shares)) == len(set().union(*shares)) == 2100
    seen: list[int] = []

    async def part(consumer: FakeConsumer) -> None:
        while len(seen) < len(share):
            ids = list(await consumer.work())
            seen.extend(ids)
            await asyncio.to_thread(commit, database, ids)
            await consumer.say(Done(ids))
            await consumer.more(len(ids))

    for address, share in zip((own_settings.bind, other), shares, strict=True):
        seen.clear()
        play(own_settings.model_copy(update={"bind": address}), part, credit=500)
        assert sorted(seen) == sorted(share)
    until(lambda: state(database) == "done")


@pytest.mark.parametrize(("variable", "value"), [("SLUICE_SHARD", "7"), ("SLUICE_BIND", "nonsense")])
def test_a_wrong_setting_is_a_sentence_and_exit_code_2(start: Start, variable: str, value: str) -> None:
    assert start(**{variable: value}).wait(60) == 2
