"""The view `current`: one row a url, of the version that is live, as a plain model in Python has it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.ledger import Database, models, pruning
from tests.support.compared_jobs import LABELS, Said, add_job, add_version, age
from tests.support.ledger_rows import ask
from tools.bench.many_results import many_results

SOURCES = ("s3://photos/", "s3://photos/a", "s3://other/", "file:///srv/photos", "file:///srv/photos2")
KEYS = {"s3://photos/": [b"a/1", b"a/2", b"b"], "s3://photos/a": [b"a/1", b"a/2", b"a3"], "s3://other/": [b"a/1", b"b"]}
FOLDER = [b"a", b"b"]

said = st.none() | st.tuples(st.sampled_from(LABELS), st.sampled_from([0.25, 0.5, 1.0]))
jobs_of = st.lists(
    st.sampled_from(SOURCES).flatmap(
        lambda source: st.tuples(
            st.just(source),
            st.sampled_from("12"),
            st.dictionaries(st.sampled_from(KEYS.get(source, FOLDER)), said, max_size=3),
        )
    ),
    max_size=6,
)


def current(database: Database) -> dict[str, tuple[str, float, str]]:
    """Return the view by url, each of which it has once."""
    rows = ask(database, "SELECT url, label, score, model FROM current")
    found = {row["url"]: (row["label"], row["score"], row["model"]) for row in rows}
    assert len(found) == len(rows)
    return found


def url(source: str, key: bytes) -> str:
    place = "/".join(source.split("/")[:3]) if source.startswith("s3://") else source
    return f"{place}/{key.decode()}"


@given(jobs_of)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_shows_the_newest_answer_of_the_live_version(
    ledger: Database, wanted: list[tuple[str, str, dict[bytes, Said]]]
) -> None:
    for table in ("jobs", "objects", "predictions", "counters", "listings"):
        ask(ledger, f"DELETE FROM {table}")
    for version in "12":
        ledger.run(add_version, version)
    for source, version, answers in wanted:
        add_job(ledger, answers, version, source)
    for live in "121":  # promoted, and rolled back: the view follows at once
        ledger.run(models.promote, "animals", live)
        expected: dict[str, tuple[str, float, str]] = {}
        for source, version, answers in wanted:
            if version == live:
                expected |= {url(source, key): (*one, f"animals@{live}") for key, one in answers.items() if one}
        assert current(ledger) == expected


def test_rows_of_a_job_that_is_being_deleted_are_not_shown(ledger: Database) -> None:
    ledger.run(lambda cursor: add_version(cursor, "1", live=True))
    older = add_job(ledger, {b"a": ("cat", 0.5)})
    newer = add_job(ledger, {b"a": ("dog", 0.5)})
    assert current(ledger) == {"s3://photos/a": ("dog", 0.5, "animals@1")}
    age(ledger, newer, 1)
    assert ledger.run(pruning.begin, newer)
    assert current(ledger) == {"s3://photos/a": ("cat", 0.5, "animals@1")}
    assert older < newer


@pytest.mark.parametrize(
    "rest", ["WHERE object_key = 'dir/000000100.jpg'", "WHERE label = 'label-7' LIMIT 10", "LIMIT 10"]
)
def test_rolling_back_is_asked_of_few_rows(ledger: Database, rest: str) -> None:
    """What the view answers after a promotion is read through indexes, and costs what is shown, not what is there."""
    for version in "12":
        job, _ = many_results(ledger, 4000)
        ask(
            ledger,
            "INSERT IGNORE INTO models (name, version, digest, preprocessing, labels) VALUES ('m', %s, %s, '{}', '[]')",
            version,
            version * 64,
        )
        (model,) = ask(ledger, "SELECT id FROM models WHERE name = 'm' AND version = %s", version)
        ask(ledger, "UPDATE jobs SET model_id = %s WHERE id = %s", model["id"], job)
        ask(ledger, "UPDATE predictions SET model_id = %s WHERE job_id = %s", model["id"], job)
    ask(ledger, "ANALYZE TABLE jobs, objects, predictions, models")
    for version in "212":
        ledger.run(models.promote, "m", version)
        start = rows_read(ledger)
        rows = ask(ledger, f"SELECT * FROM current {rest}")
        assert {row["model"] for row in rows} == {f"m@{version}"}
        assert rows_read(ledger) - start < 500


def rows_read(database: Database) -> int:
    return sum(int(row["Value"]) for row in ask(database, "SHOW SESSION STATUS LIKE 'Handler_read%'"))
