"""Published versions and who serves them: what is wanted, what may become live, and tables on the way."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from sluice.domain import Model
from sluice.errors import ConfigurationError, NotServed, TablesMissing
from sluice.ledger import Database, jobs, models, schema, serving
from sluice.ledger.models import StoredArchive
from sluice.ledger.serving import ServingState
from sluice.settings import Settings
from tests.support.ledger_rows import ask
from tests.support.tables_changing import tables_at
from tools.stack import Servers

CARD: Final[dict[str, Any]] = {"name": "net", "digest": "a" * 64, "preprocessing": {"crop": 224}, "labels": ["a", "b"]}
SERVED: Final = ServingState("served")
SHA256: Final = "c" * 64


def publish(database: Database, version: str, sha256: str = SHA256) -> Model:
    return database.run(models.publish, {**CARD, "version": version}, StoredArchive(sha256, 5))


def tell(database: Database, server: str, **states: ServingState) -> None:
    """Have a server say how far it is: `v1` is the version with the id 1."""
    database.run(serving.tell, server, "", {int(name[1:]): state for name, state in states.items()})


def wanted(database: Database) -> list[str]:
    return [each.version for each in database.run(serving.wanted)]


def wait_out_the_retirement(database: Database) -> None:
    ask(database, "UPDATE models SET retired = retired - INTERVAL 1 MINUTE WHERE retired IS NOT NULL")


def test_a_version_becomes_live_once_every_living_server_serves_it(ledger: Database) -> None:
    one = publish(ledger, "1.0")
    with pytest.raises(NotServed, match="no TorchServe with an agent is there"):
        ledger.run(models.promote, "net", "1.0")
    tell(ledger, "a", v1=SERVED)
    tell(ledger, "b", v1=ServingState("loading", "it fetches"))
    with pytest.raises(NotServed, match=r"1 of 2 serve it \(b: it fetches\)"):
        ledger.run(models.promote, "net", "1.0")
    assert not ledger.run(models.list_models)[0].live
    tell(ledger, "b", v1=SERVED)
    tell(ledger, "gone")
    ask(ledger, "UPDATE servers SET seen = seen - INTERVAL 16 SECOND WHERE name = 'gone'")
    assert ledger.run(models.promote, "net", "1.0").live
    ledger.run(serving.leave, "b")
    tell(ledger, "a")
    assert ledger.run(models.promote, "net", "1.0").live, "what is live stays so, whatever servers do"
    assert ledger.run(serving.servers_of, one.id)[0].state == "absent"


def test_what_cannot_be_loaded_is_never_live_until_it_is_published_again(ledger: Database) -> None:
    publish(ledger, "1.0")
    (version,) = ledger.run(serving.wanted)
    ledger.run(serving.fail, version, "its weights are cut off")
    for use in (partial(models.promote, name="net", version="1.0"), partial(models.resolve, spec="net@1.0")):
        with pytest.raises(ConfigurationError, match="can't be loaded: its weights are cut off"):
            ledger.run(use)
    (state,) = ledger.run(serving.states, [1]).values()
    assert (state.state, state.message) == ("failed", "its weights are cut off")
    assert not publish(ledger, "1.0", "d" * 64).failed
    ledger.run(serving.fail, version, "late news of the archive before")
    assert ledger.run(models.find, "net", "1.0").failed == ""  # type: ignore[union-attr]


def test_one_server_fails_no_version_that_another_serves_or_that_is_live(ledger: Database) -> None:
    publish(ledger, "1.0")
    tell(ledger, "a", v1=SERVED)
    (version,) = ledger.run(serving.wanted)
    ledger.run(serving.fail, version, "no disk")
    assert ledger.run(models.promote, "net", "1.0").failed == ""
    tell(ledger, "a")
    ledger.run(serving.fail, version, "no disk")
    assert ledger.run(models.resolve, "net").failed == ""


def test_a_retired_version_is_wanted_as_long_as_a_job_needs_it(ledger: Database) -> None:
    for version in ("1.0", "1.1", "1.2"):
        publish(ledger, version)
    tell(ledger, "a", v1=SERVED, v2=SERVED, v3=SERVED)
    ledger.run(models.promote, "net", "1.0")
    assert wanted(ledger) == ["1.0", "1.2", "1.1"], "the live one first, then the newest"
    job = ledger.run(jobs.submit, "s3://photos/", "net@1.1")
    assert ledger.run(jobs.start, job, 2)
    for version in ("1.1", "1.2"):
        ledger.run(models.retire, "net", version)
    assert wanted(ledger) == ["1.0", "1.1", "1.2"], "somebody may have asked just before"
    wait_out_the_retirement(ledger)
    assert wanted(ledger) == ["1.0", "1.1"]
    for state in ("paused", "running"):
        ask(ledger, "UPDATE jobs SET state = %s", state)
        assert wanted(ledger) == ["1.0", "1.1"]
    ask(ledger, "UPDATE jobs SET state = 'done'")
    assert wanted(ledger) == ["1.0"]


def test_a_model_of_the_image_is_wanted_only_as_the_default(ledger: Database) -> None:
    ledger.run(models.register, "net", "1.0", "a" * 64, {}, ["a"])
    assert ledger.run(serving.wanted) == []
    ledger.run(models.promote, "net", "1.0")
    (version,) = ledger.run(serving.wanted)
    assert (version.sha256, version.is_live) == ("", True)


def test_what_a_server_says_replaces_what_it_said(ledger: Database) -> None:
    for version in ("1.0", "1.1"):
        publish(ledger, version)
    tell(ledger, "a", v1=ServingState("loading", "x" * 2000), v2=SERVED)
    (before,) = ask(ledger, "SELECT * FROM servings WHERE model_id = 2")
    tell(ledger, "a", v1=ServingState("failed", "no memory"), v2=SERVED)
    assert ask(ledger, "SELECT * FROM servings WHERE model_id = 2") == [before], "no row is written without news"
    assert [each.message for each in ledger.run(serving.servers_of, 1)] == ["no memory"]
    tell(ledger, "a", v2=SERVED)
    assert [row["model_id"] for row in ask(ledger, "SELECT model_id FROM servings")] == [2]
    ask(ledger, "UPDATE servers SET seen = seen - INTERVAL 2 HOUR")
    ledger.run(serving.leave, "another")
    assert ask(ledger, "SELECT * FROM servers") == ask(ledger, "SELECT * FROM servings") == []


def test_another_model_of_the_same_version_is_refused(ledger: Database) -> None:
    publish(ledger, "1.0")
    ledger.run(models.check_free, "net", "1.0", "a" * 64)
    for use in (models.check_free, models.register):
        with pytest.raises(ConfigurationError, match="give the new archive another version"):
            ledger.run(partial(use, name="net", version="1.0", digest="b" * 64, **_rest(use)))
    with pytest.raises(ConfigurationError, match="no model name"):
        ledger.run(models.check_free, "../net", "1.0", "a" * 64)


def _rest(use: object) -> dict[str, Any]:
    return {"preprocessing": {}, "labels": ["a"]} if use is models.register else {}


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before anything was published."""
    return tables_at(servers, database_name, "0005")


def test_up_and_down_with_rows(before: Settings) -> None:
    with Database(before) as database:
        database.run(models.register, "net", "0.9", "b" * 64, {}, ["a"])
        database.run(models.promote, "net", "0.9")
        assert database.run(serving.states, [1]) == {}
        with pytest.raises(TablesMissing, match="sluice db upgrade"):
            publish(database, "1.0")
        schema.upgrade(before)
        new = publish(database, "1.0")
        tell(database, "a", **{f"v{new.id}": SERVED})
        # As where an upgrade was cut off after a statement: it is run again.
        ask(database, "UPDATE alembic_version SET version_num = '0005'")
        schema.upgrade(before)
        told = ask(database, "SELECT state FROM model_versions ORDER BY 1")
        assert [row["state"] for row in told] == ["live", "served"]
        schema.downgrade(before, "0005")
        assert [(each.version, each.live) for each in database.run(models.list_models)] == [
            ("0.9", True),
            ("1.0", False),
        ]
        assert database.run(models.resolve, "net@1.0").archive_sha256 == ""
        schema.upgrade(before)
        assert publish(database, "1.0").archive_sha256 == SHA256
