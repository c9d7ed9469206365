"""Cards and retired models: rows of this release's tables, of those before, and on the way between them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from sluice.domain import Model
from sluice.errors import ConfigurationError, TablesMissing
from sluice.ledger import Database, jobs, models, schema
from sluice.settings import Settings
from tests.support.ledger_rows import ask
from tests.support.tables_changing import tables_at
from tools.stack import Servers

CARD: dict[str, Any] = {
    "name": "net",
    "version": "1.0",
    "digest": "a" * 64,
    "preprocessing": {"crop": 224},
    "labels": ["a", "ß"],
    "architecture": "resnet18",
    "weights": {"file": "weights.safetensors", "sha256": "b" * 64},
    "classes": 2,
    "description": "Tells ß from a.",
    "metrics": {"accuracy": 0.5},
}


def add(database: Database, card: dict[str, Any] | None = CARD, **changed: Any) -> Model:  # noqa: ANN401 - JSON
    told = {**CARD, **changed}
    parts = {part: told[part] for part in ("name", "version", "digest", "preprocessing", "labels")}
    rest = {**card, **changed} if card else None
    return database.run(lambda cursor: models.register(cursor, **parts, card=rest))


def test_a_card_is_kept_beside_its_columns_and_told_whole(ledger: Database) -> None:
    model = add(ledger)
    assert models.card_of(model) == CARD
    assert model.card.keys() == CARD.keys() - {"name", "version", "digest", "preprocessing", "labels"}
    assert ledger.run(models.find, "net", "1.0") == model


def test_the_card_that_was_registered_last_is_told(ledger: Database) -> None:
    first = add(ledger, None)
    assert (first.card, models.card_of(first)["classes"]) == ({}, 2)
    assert add(ledger).card["description"] == "Tells ß from a."
    assert add(ledger, description="Better said.").card["description"] == "Better said."
    assert add(ledger, None).card["description"] == "Better said.", "who has no card changes none"
    with pytest.raises(ConfigurationError, match="another version"):
        add(ledger, digest="c" * 64)


def test_a_retired_version_is_neither_promoted_nor_asked_for(ledger: Database) -> None:
    add(ledger)
    add(ledger, version="1.1")
    ledger.run(models.promote, "net", "1.0")
    with pytest.raises(ConfigurationError, match=r"net@1\.0 is live.*promote another version of net first"):
        ledger.run(models.retire, "net", "1.0")
    started = ledger.run(models.resolve, "net@1.0")
    job = ledger.run(partial(jobs.submit, source="s3://photos", model="net@1.0"))
    assert ledger.run(jobs.start, job, started.id)
    ledger.run(models.promote, "net", "1.1")
    assert ledger.run(models.retire, "net", "1.0").retired
    with pytest.raises(ConfigurationError, match=r"net@1\.0 is retired.*--undo"):
        ledger.run(models.promote, "net", "1.0")
    with pytest.raises(ConfigurationError, match=r"net@1\.0 is retired: name another"):
        ledger.run(models.resolve, "net@1.0")
    running = ledger.run(jobs.get, job)
    assert running is not None
    assert (running.state, running.model_id) == ("running", started.id)
    found = ledger.run(models.get, started.id)
    assert found is not None, "who works on the job finds its model"
    assert ledger.run(models.resolve, "net").version == "1.1"
    assert not ledger.run(partial(models.retire, name="net", version="1.0", undo=True)).retired
    assert ledger.run(models.promote, "net", "1.0").live
    with pytest.raises(ConfigurationError, match="not registered"):
        ledger.run(models.retire, "net", "9")


@pytest.fixture
def before(servers: Servers, database_name: str) -> Settings:
    """Reach tables as they were before there were cards."""
    return tables_at(servers, database_name, "0003")


def test_tables_without_cards_serve_until_they_are_upgraded(before: Settings) -> None:
    with Database(before) as database:
        model = add(database)
        assert (model.card, model.retired) == ({}, False)
        assert database.run(models.promote, "net", "1.0").live
        assert database.run(models.resolve, "").version == "1.0"
        add(database, version="1.1")
        with pytest.raises(TablesMissing, match="sluice db upgrade"):
            database.run(models.retire, "net", "1.1")
        schema.upgrade(before)
        assert [each.card for each in database.run(models.list_models)] == [{}, {}]
        assert models.card_of(add(database)) == CARD
        assert database.run(models.retire, "net", "1.1").retired


def test_up_and_down_keeps_the_ask(before: Settings) -> None:
    with Database(before) as database:
        add(database)
        add(database, version="1.1")
        old = ask(database, "SELECT * FROM models ORDER BY id")
        schema.upgrade(before)
        added = dict.fromkeys(("card", "retired", "archive_sha256", "archive_bytes", "failed"))
        assert ask(database, "SELECT * FROM models ORDER BY id") == [{**row, **added} for row in old]
        add(database)
        database.run(models.retire, "net", "1.1")
        # As where an upgrade was cut off after a statement: it is run again.
        ask(database, "UPDATE alembic_version SET version_num = '0003'")
        schema.upgrade(before)
        assert [each.retired for each in database.run(models.list_models)] == [False, True]
        schema.downgrade(before, "0003")
        assert ask(database, "SELECT * FROM models ORDER BY id") == old
        assert not any(each.retired for each in database.run(models.list_models))
