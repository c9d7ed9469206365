"""Pages of results: each order, each filter, and that no page reads more than necessary."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluice.ledger import Database, LedgerCursor, browse, listing, predictions, schema
from sluice.ledger.browse import WALKED, Place, ResultsFilter, ResultsOrder, results_page
from sluice.ledger.summary import RUN, STARTS, summarize
from sluice.settings import Settings, read_settings
from tests.support.ledger_rows import entries, ids_of, list_all, prediction, running_job
from tools.bench.many_results import LABELS, SCORES, many_results
from tools.stack import Servers

COUNT = 40_000
LIMIT = 100


@pytest.fixture(scope="module")
def many(servers: Servers) -> Iterator[tuple[Database, int]]:
    """Return a ledger with a job with many results, and the job."""
    servers.start(servers.database)
    settings = read_settings(database_url=servers.database.create("many_results"), database_patience=10.0)
    schema.upgrade(settings)
    with Database(settings) as database:
        yield database, many_results(database, COUNT)[0]
    servers.database.drop("many_results")


def numbers(rows: list[str]) -> list[int]:
    return [int(name.removesuffix(".jpg")) for name in rows]


def all_of(many: tuple[Database, int], order: ResultsOrder, wanted: ResultsFilter, limit: int = 1000) -> list[int]:
    """Return the numbers of all matching results, page after page."""
    database, job_id = many
    found, after = list[int](), None
    while True:
        page = database.run(results_page, job_id, order, wanted, after=after, limit=limit)
        assert len(page.rows) <= limit
        found += numbers([row.name for row in page.rows])
        after = page.next
        if after is None:
            return found


ORDERED: dict[ResultsOrder, Callable[[int], Any]] = {
    ResultsOrder.OBJECT: lambda n: n,
    ResultsOrder.SCORE: lambda n: (n % SCORES, n),
    ResultsOrder.SCORE_DOWN: lambda n: (-(n % SCORES), -n),
    ResultsOrder.LABEL: lambda n: (f"label-{n % LABELS}", n % SCORES, n),
}
FITTING: dict[str, tuple[ResultsFilter, Callable[[int], bool]]] = {
    "all": (ResultsFilter(), lambda _: True),
    "label": (ResultsFilter(label="label-7"), lambda n: n % LABELS == 7),
    "score": (ResultsFilter(score_from=0.25, score_to=0.5), lambda n: 0.25 <= n % SCORES / SCORES <= 0.5),
    "text": (ResultsFilter(text="77.JPG"), lambda n: n % 100 == 77),
    "nothing": (ResultsFilter(text="100%"), lambda _: False),
    "each": (
        ResultsFilter(label="label-7", score_from=0.5, text="7.jpg"),
        lambda n: n % LABELS == 7 and n % SCORES / SCORES >= 0.5,
    ),
}
EACH = list(itertools.product(ORDERED, FITTING))


@pytest.mark.parametrize(("order", "fitting"), EACH)
def test_pages_give_each_result_that_fits_once_and_in_order(
    many: tuple[Database, int], order: ResultsOrder, fitting: str
) -> None:
    wanted, fits = FITTING[fitting]
    expected = sorted((n for n in range(COUNT) if fits(n)), key=ORDERED[order])
    if order is ResultsOrder.LABEL and wanted.label:
        expected.sort(key=ORDERED[ResultsOrder.SCORE])
    assert all_of(many, order, wanted) == expected


def rows_read(cursor: LedgerCursor) -> int:
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(row["Value"]) for row in cursor.fetchall())


def sorts(cursor: LedgerCursor) -> int:
    cursor.execute("SHOW SESSION STATUS LIKE 'Sort_rows'")
    return sum(int(row["Value"]) for row in cursor.fetchall())


def read_by_page(
    cursor: LedgerCursor, job_id: int, order: ResultsOrder, wanted: ResultsFilter, after: Place | None
) -> tuple[int, int, Place | None]:
    """Return the cost of one page, in rows read and rows sorted, and where it ended."""
    before, sorted_before = rows_read(cursor), sorts(cursor)
    page = results_page(cursor, job_id, order, wanted, after=after, limit=LIMIT)
    # Reading the counters reads some rows itself.
    return rows_read(cursor) - before, sorts(cursor) - sorted_before, page.next


@pytest.mark.parametrize(("order", "fitting"), EACH)
def test_no_page_reads_or_sorts_the_whole_job(many: tuple[Database, int], order: ResultsOrder, fitting: str) -> None:
    database, job_id = many
    wanted, _ = FITTING[fitting]
    is_tried = bool(wanted.text) or (order in (ResultsOrder.OBJECT, ResultsOrder.LABEL) and wanted != ResultsFilter())
    # A row of a page is read from the index, from predictions, objects, jobs, models and pictures; a checked row from
    # the index (twice, to find the last), from the server's temporary table, and from three tables.
    most = LIMIT * 10 + 100 + (WALKED * 7 if is_tried else 0)
    after: Place | None = None
    for _ in range(5):
        read, sorted_rows, after = database.run(read_by_page, job_id, order, wanted, after)
        assert read < most < COUNT
        assert sorted_rows == 0
        if after is None:
            break


def test_a_page_among_equal_scores_reads_as_little(many: tuple[Database, int]) -> None:
    """Many thousand results may have the same score, if a model gives the same answer for all."""
    database, job_id = many
    wanted = ResultsFilter(label="label-0", score_from=0.0, score_to=0.0)
    page = database.run(results_page, job_id, ResultsOrder.SCORE, wanted, limit=2)
    assert page.next is not None
    read, _, _ = database.run(read_by_page, job_id, ResultsOrder.SCORE, ResultsFilter(), page.next)
    assert read < LIMIT * 10 + 100


def test_the_index_is_read_in_its_order(many: tuple[Database, int]) -> None:
    database, job_id = many

    def explain(cursor: LedgerCursor) -> list[str]:
        cursor.execute(
            "EXPLAIN SELECT score, object_id FROM predictions FORCE INDEX (by_score) "
            "WHERE job_id = %s AND score > 0.5 ORDER BY score DESC, object_id DESC LIMIT 10",
            (job_id,),
        )
        return [f"{row['key']} {row['Extra']}" for row in cursor.fetchall()]

    (plan,) = database.run(explain)
    assert plan.startswith("by_score ")
    assert "filesort" not in plan


def test_a_summary_of_a_large_job_is_of_a_sample_of_all_of_it(many: tuple[Database, int]) -> None:
    database, job_id = many

    def work(cursor: LedgerCursor) -> int:
        before = rows_read(cursor)
        found = summarize(cursor, job_id)
        assert (found.done, found.seen) == (COUNT, STARTS * RUN)
        assert {label for label, _ in found.labels} == {f"label-{number}" for number in range(LABELS)}
        assert sum(found.scores) == found.seen
        assert min(found.scores) > 0
        return rows_read(cursor) - before

    assert database.run(work) < STARTS * RUN * 5


def test_a_summary_of_a_small_job_is_of_each_result(ledger: Database) -> None:
    job_id, _ = many_results(ledger, 1000)
    found = ledger.run(summarize, job_id)
    assert (found.done, found.seen) == (1000, 1000)
    assert found.labels[0] == ("label-0", 20)
    assert len(found.labels) == LABELS


def test_a_summary_of_no_results_is_empty(ledger: Database) -> None:
    found = ledger.run(summarize, many_results(ledger, 0)[0])
    assert (found.seen, found.labels, sum(found.scores)) == (0, (), 0)


def test_no_result_is_left_out_because_another_goes_while_a_page_is_read(
    ledger: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object is superseded between two statements of a page: those behind it still come, once each."""
    monkeypatch.setattr(browse, "STRIDE", 2)
    job = running_job(ledger)
    list_all(ledger, job, entries([b"a", b"b", b"c", b"d", b"e"]))
    ledger.run(predictions.commit, [prediction(number, job) for number in ids_of(ledger, job).values()])
    with Database(settings) as other:
        places = browse._Walk._places

        def change_after(walk: browse._Walk, cursor: LedgerCursor, run: str, values: tuple[object, ...]) -> list[Place]:
            found = places(walk, cursor, run, values)
            other.run(listing.upsert_keys, job, entries([b"a"], "new"))
            return found

        monkeypatch.setattr(browse._Walk, "_places", change_after)
        page = ledger.run(results_page, job, wanted=ResultsFilter(label="cat"))
    assert [row.name for row in page.rows][-4:] == ["b", "c", "d", "e"]
