"""How long pictures and archives are kept: afterwards their bytes go, what was said of them stays, whoever dies."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from gateway.admission import Admission
from gateway.classifier import Classified, Classifier, DroppedPicture
from gateway.ledgers import LedgerPool
from gateway.live_models import UsableModel
from gateway.predictor import Predictor
from gateway.retention import LOCK, Retention, SweepResult
from gateway.store import PictureStore, StorePage
from sluice.inference import Balancer, TorchServeClient
from sluice.ledger import Database, answers, pictures, uploads
from sluice.ledger.pictures import Top
from sluice.settings import Settings
from tests.support import gateway_house
from tests.support.corpus import SPEC
from tests.support.gateway_programs import ApiClient
from tests.support.jobs_running import until
from tests.support.kept_pictures import ADA, BEGIN, BOB, KEEP, TOP, Calendar, Household, register, upload
from tests.support.ledger_rows import breaches
from tools.stack import S3Server, Servers, Stack


@pytest.fixture
def house(s3_settings: Settings, s3: S3Server, bucket: str) -> Iterator[Household]:
    own = {"gateway_store": f"s3://{bucket}/kept/", "gateway_keep_days": KEEP}
    settings = s3_settings.model_copy(update=own)
    with Database(settings) as database:
        yield Household(settings, database, s3, Calendar(), database.run(register))


def test_a_picture_goes_when_its_time_is_over_and_what_was_said_of_it_stays(house: Household) -> None:
    old, other_model = house.drop(b"a cat"), house.drop(b"a cat", model=1)
    house.clock.after(20)
    by_another, young = house.drop(b"a cat", BOB), house.drop(b"a dog")
    assert house.sweep() == SweepResult(pages=1)
    house.clock.after(40)
    done = house.sweep()
    assert done is not None
    assert (done.pictures, done.archives, done.is_whole) == (1, 0, True)
    assert [house.is_kept(each) for each in (old, other_model, by_another, young)] == [False, False, True, True]
    assert len(house.there()) == 2
    assert house.read(by_another) == b"a cat"
    assert house.read(young) == b"a dog"
    assert len(house.sql("SELECT 1 FROM results WHERE label = 'cat'")) == 4
    assert breaches(house.database) == []
    again = house.sweep()
    assert again is not None
    assert again.pictures == 0


def test_a_picture_that_is_dropped_again_is_kept_again(house: Household) -> None:
    first = house.drop(b"a cat")
    assert house.drop(b"a cat") == first
    house.clock.after(40)
    house.sweep()
    sha256 = hashlib.sha256(b"a cat").digest()
    store = house.store()
    key = store.picture_key(ADA, sha256)
    known = house.database.run(pictures.recall, ADA, house.models[0].id, sha256, store.source, key, 30)
    store.close()
    assert (known.object_id, known.top) == (None, TOP)
    second = house.drop(b"a cat")
    assert second != first
    assert house.read(second) == b"a cat"
    assert (house.is_kept(first), house.is_kept(second)) == (False, True)
    assert breaches(house.database) == []


def test_what_became_no_row_goes_too(house: Household) -> None:
    """A model refused the picture after it was put, or its gateway died then."""
    store = house.store()
    asyncio.run(store.put(store.picture_key(ADA, b"x" * 32), b"no row", hashlib.sha256(b"no row").digest()))
    store.close()
    house.clock.after(40)
    done = house.sweep()
    assert done is not None
    assert (done.pictures, house.there()) == (1, [])


def test_what_others_put_beside_it_stays(house: Household) -> None:
    """Somebody sorts photos by day, in the folder that the gateway was given."""
    house.drop(b"a cat")
    others = [
        f"kept/pictures/{BEGIN.date()}/{name}" for name in ("a.jpg", f"7/{'a' * 63}", f"x/{'a' * 64}", "7/8/b.jpg")
    ]
    bucket = str(house.settings.gateway_store).split("/")[2]
    house.s3.fill(bucket, [(key, b"a photo") for key in others])
    house.clock.after(60)
    done = house.sweep()
    assert done is not None
    assert (done.pictures, done.is_whole) == (1, True)
    assert house.there() == sorted(others)


def test_one_gateway_sweeps_at_a_time(house: Household) -> None:
    house.drop(b"a cat")
    house.clock.after(40)
    with Database(house.settings) as another:
        assert another.hold_lock(LOCK)
        assert house.sweep() is None
        assert len(house.there()) == 1
    until(lambda: house.sweep() is not None, "the lock of a gateway that is gone")
    assert house.there() == []


class Stopping(PictureStore):
    """A store that comes to a halt where something is to be removed: before it, or behind it."""

    def __init__(self, settings: Settings, clock: Calendar, *, behind: bool) -> None:
        super().__init__(settings, clock)
        self._behind = behind
        self.halted = asyncio.Event()
        self.go = asyncio.Event()

    async def remove(self, keys: Sequence[str]) -> None:
        if self._behind:
            await super().remove(keys)
        self.halted.set()
        await self.go.wait()
        if not self._behind:
            await super().remove(keys)


@pytest.mark.parametrize("behind", [False, True])
def test_a_gateway_that_dies_in_a_sweep_leaves_the_rest_to_the_next(house: Household, *, behind: bool) -> None:
    ids = house.drop_all([b"%d" % number for number in range(20)])
    house.clock.after(20)
    young = house.drop(b"young")
    house.clock.after(40)

    async def die() -> None:
        store = Stopping(house.settings, house.clock, behind=behind)
        sweeping = asyncio.create_task(Retention(house.settings, store, house.clock).sweep())
        await store.halted.wait()
        sweeping.cancel()
        await asyncio.wait([sweeping])
        store.close()

    asyncio.run(die())
    assert not any(house.is_kept(each) for each in ids)
    assert len(house.there()) == (1 if behind else 21)
    until(lambda: house.sweep() is not None, "the lock of a gateway that died")
    assert len(house.there()) == 1
    assert house.read(young) == b"young"
    assert breaches(house.database) == []


async def drop_again(house: Household, some: Sequence[bytes]) -> list[Classified]:
    """Drop pictures whose answers are known, through all that a gateway does for them."""
    pool, store = LedgerPool(house.settings, 2, joins=True), house.store()
    predictor = Predictor(Balancer(house.settings, TorchServeClient(house.settings)), 1, 1)
    classifier = Classifier(house.settings, Admission(1000, 10**6), pool, predictor, store)
    usable = UsableModel(house.models[0], SPEC)
    working = asyncio.create_task(classifier.run())
    try:
        return await classifier.classify(ADA, usable, [DroppedPicture("again.jpg", data) for data in some])
    finally:
        working.cancel()
        await asyncio.wait([working])
        classifier.close()
        store.close()
        pool.close()


def test_a_sweep_that_hangs_removes_nothing_that_was_dropped_again_meanwhile(house: Household) -> None:
    old = house.drop(b"a cat")
    house.clock.after(40)

    async def meet() -> Classified:
        store = Stopping(house.settings, house.clock, behind=False)
        sweeping = asyncio.create_task(Retention(house.settings, store, house.clock).sweep())
        await store.halted.wait()
        (again,) = await drop_again(house, [b"a cat"])
        store.go.set()
        await sweeping
        store.close()
        return again

    again = asyncio.run(meet())
    assert again.object_id not in (None, old)
    assert house.is_kept(again.object_id or 0)
    assert house.read(again.object_id or 0) == b"a cat"
    assert len(house.there()) == 1


def test_pictures_that_are_dropped_again_during_sweeps_all_have_their_bytes(house: Household) -> None:
    """On each of many days some are dropped, old ones among them, while two gateways sweep."""
    some = [b"picture %d" % number for number in range(12)]
    house.drop_all(some)

    async def day() -> list[Classified]:
        store = house.store()
        sweeps = [Retention(house.settings, store, house.clock).sweep() for _ in range(2)]
        sweeping = asyncio.gather(*sweeps)
        dropped = await drop_again(house, some)
        await sweeping
        store.close()
        return dropped

    for number in (0, 33, 34, 66, 98, 99):
        house.clock.after(number)
        for data, found in zip(some, asyncio.run(day()), strict=True):
            assert found.object_id is not None
            assert house.is_kept(found.object_id)
            assert house.read(found.object_id) == data
    assert breaches(house.database) == []


def test_archives_go_when_their_jobs_ended_so_long_ago(house: Household) -> None:
    house.clock.now = datetime.now(UTC)
    over = [upload(house, number, days=KEEP + 1, state=state) for number, state in enumerate(["done", "failed"])]
    deleted = upload(house, 2, days=KEEP + 1, state="done")
    house.sql("DELETE j FROM jobs j JOIN uploads u ON u.job_id = j.id WHERE u.id = %s", deleted)
    kept = [
        upload(house, 3, days=KEEP - 1, state="done"),
        upload(house, 4, days=KEEP + 1, state="paused"),
        lately := upload(house, 5, days=KEEP + 1, state="done"),
    ]
    house.sql(
        "UPDATE jobs j JOIN uploads u ON u.job_id = j.id SET j.finished = CURRENT_TIMESTAMP(3) WHERE u.id = %s", lately
    )
    store = house.store()
    asyncio.run(store.put(store.archive_key("f" * 32, "no row.zip").encode(), b"zip", hashlib.sha256(b"zip").digest()))
    asyncio.run(store.put(store.archive_key("not ours", "a.zip").encode(), b"zip", hashlib.sha256(b"zip").digest()))
    store.close()
    done = house.sweep()
    assert done is not None
    assert done.archives == 3
    found = {upload_id: house.database.run(uploads.get, upload_id) for upload_id in (*over, deleted, *kept)}
    assert {each for each, row in found.items() if row is None or row.removed} == {*over, deleted}
    assert {key.split("/")[2] for key in house.there()} == {*kept, "f" * 32, "not ours"}
    assert len(house.sql("SELECT id FROM jobs")) == 5
    # A month later only the job that has not ended needs its archive; what isn't ours stays where it is.
    house.clock.now += timedelta(days=KEEP + 1)
    done = house.sweep()
    assert done is not None
    assert done.archives == 3
    assert {key.split("/")[2] for key in house.there()} == {kept[1], "not ours"}


def test_a_server_that_lists_little_at_a_time_ends_no_sweep(house: Household, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 may tell of less than it was asked for, and have more."""
    whole = PictureStore.page

    async def little(store: PictureStore, *folder: str, after: str = "", most: int = 2) -> StorePage:
        return await whole(store, *folder, after=after, most=most)

    monkeypatch.setattr(PictureStore, "page", little)
    house.clock.now = datetime.now(UTC)
    kept = [upload(house, number, days=KEEP + 1, state="paused") for number in range(3)]
    for number in range(3, 6):
        upload(house, number, days=KEEP + 1, state="done")
    done = house.sweep()
    assert done is not None
    assert (done.archives, done.is_whole) == (3, True)
    assert {key.split("/")[2] for key in house.there()} == set(kept)


def answer_of(house: Household, digest: bytes, days: int) -> Top | None:
    return house.database.run(pictures.recall, ADA, house.models[0].id, digest, "", b"no key", days).top


def test_the_answers_that_are_kept_are_bounded_in_number_and_age(house: Household) -> None:
    model = house.models[0].id
    digests = [bytes([number]) * 32 for number in range(9)]
    house.database.run(answers.keep, {(digest, model): TOP for digest in digests})
    for number, digest in enumerate(digests):
        house.sql("UPDATE answers SET created = created - INTERVAL %s DAY WHERE sha256 = %s", number * 10, digest)
    assert answer_of(house, digests[2], 30) == TOP
    assert answer_of(house, digests[4], 30) is None, "it is too old, trimmed or not"
    assert house.database.run(answers.trim, 7, 65) == 2
    assert house.database.run(answers.trim, 4, 65) == 3
    assert house.database.run(answers.trim, 4, 65) == 0
    assert [answer_of(house, each, 999) for each in digests] == [TOP] * 4 + [None] * 5
    # What is used again is young again; with room for none, none is left.
    house.database.run(answers.keep, {(digests[3], model): TOP})
    assert house.database.run(answers.trim, 1, 65) == 3
    assert house.sql("SELECT sha256 FROM answers") in ([{"sha256": digests[0]}], [{"sha256": digests[3]}])
    assert house.database.run(answers.trim, 0, 65) == 1


def test_people_are_told_what_is_no_longer_kept(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real gateway finds at its start what was dropped, or sent, a hundred days ago."""
    servers.start(servers.database, servers.s3)
    for name, value in servers.s3.environment.items():
        monkeypatch.setenv(name, value)
    with Stack(servers, "retention") as stack, Database(stack.settings) as database:
        gateway = stack.add_gateway(gateway_anonymous="none", gateway_classic=True)
        settings = stack.settings.model_copy(update={"gateway_store": gateway.settings["gateway_store"]})
        house = Household(settings, database, servers.s3, Calendar(), database.run(register))
        house.clock.now = datetime.now(UTC) - timedelta(days=100)
        anna = ApiClient.make(database, gateway.url, "anna")
        picture = house.drop(b"a cat", anna.user_id)
        sent = upload(house, 1, days=100, state="done")
        house.sql("UPDATE uploads SET user_id = %s", anna.user_id)
        gateway.start()
        gateway.wait_until(lambda: not house.there(), 60)
        gateway.wait_until(lambda: gateway_house.answers(gateway.url), 60)
        until(lambda: gateway.metrics().get('sluice_gateway_removed_total{what="archive"}') == 1, "the count")
        assert gateway.metrics()['sluice_gateway_removed_total{what="picture"}'] == 1
        until(lambda: "whose time was over" in gateway.log_tail(), "the log's line")
        page = anna.get(f"/pictures/{picture}", headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "no longer kept" in page.text
        assert f"/pictures/{picture}/" not in page.text.replace(f'/pictures/{picture}"', "")
        for path in ("thumbnail", "large", "why", "why.jpg"):
            gone = anna.get(f"/pictures/{picture}/{path}")
            assert gone.status_code == 410
            assert "drop it again" in gone.json()["detail"]
        answer = anna.get(f"/api/v1/uploads/{sent}").json()
        assert answer["removed"] is not None
        assert answer["state"] == "done"
        shown_page = anna.get(f"/batch/{sent}", headers={"Accept": "text/html"})
        assert "no longer kept" in shown_page.text
        assert anna.get(f"/display/{b'a cat'!r}.jpg").status_code == 404
