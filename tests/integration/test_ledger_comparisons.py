"""Two jobs compared: the same as a plain comparison of two dictionaries, whatever the slices, and only their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice.domain import ListedObject
from sluice.errors import ConfigurationError, LedgerError
from sluice.ledger import (
    Database,
    LedgerCursor,
    comparisons,
    differences,
    listing,
    objects,
    predictions,
)
from sluice.ledger.comparing import compare
from sluice.ledger.comparisons import Comparison
from sluice.ledger.differences import DifferenceKind
from sluice.settings import Settings
from tests.support.compared_jobs import LABELS, Said, add_job, add_version
from tests.support.ledger_rows import ask, breaches, prediction
from tools.bench.many_results import many_results

CHANGED, GONE, NEW = DifferenceKind
KEYS = [b"a", b"A", b"a ", b"a\x00", b"b/../c", "ü".encode(), b"\xff", b"z" * 1024, *(b"k%d" % n for n in range(8))]

saids = st.none() | st.tuples(st.sampled_from(LABELS), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
answers = st.dictionaries(st.sampled_from(KEYS), saids, max_size=len(KEYS))


def made(database: Database, before: int, after: int) -> Comparison:
    """Compare two jobs on one connection."""
    number = database.run(comparisons.begin, before, after)
    while database.run(comparisons.advance, number):
        pass
    found = database.run(comparisons.find, number)
    assert found
    assert found.complete
    return found


def paged(
    database: Database, found: Comparison, kind: DifferenceKind, pair: tuple[str, str] | None = None, limit: int = 3
) -> Iterator[tuple[float, int, int]]:
    """Yield size and objects of all differences of a kind, page after page."""
    place = None
    while True:
        page = database.run(differences.differences_page, found, kind, pair, after=place, limit=limit)
        assert len(page.rows) <= limit
        for row in page.rows:
            yield row.size, row.before.object_id if row.before else 0, row.after.object_id if row.after else 0
        place = page.next
        if place is None:
            return


def expected(
    before: dict[bytes, Said], after: dict[bytes, Said]
) -> tuple[int, Counter[tuple[str, str, str]], set[Any]]:
    """Compare in plain Python: how many are the same, how often each pair occurs, and the size of each difference."""
    same, pairs, sizes = 0, Counter[tuple[str, str, str]](), set[Any]()
    for key in {*before, *after}:
        first, second = before.get(key), after.get(key)
        if first and second and first[0] == second[0]:
            same += 1
        elif first or second:
            kind = "changed" if first and second else "gone" if first else "new"
            pairs[kind, first[0] if first else "", second[0] if second else ""] += 1
            scores = [said[1] for said in (first, second) if said]
            sizes.add((kind, key, sum(scores) / len(scores)))
    return same, pairs, sizes


@given(before=answers, after=answers, size=st.integers(1, 5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_as_two_dictionaries(
    ledger: Database, before: dict[bytes, Said], after: dict[bytes, Said], size: int
) -> None:
    jobs = [add_job(ledger, said) for said in (before, after)]
    add_job(ledger, dict.fromkeys(KEYS, ("cow", 1.0)))  # another one, which has nothing to do with them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparisons, "SLICE", size)
        patch.setattr(comparisons, "PLANNED", 2)
        found = made(ledger, jobs[0], jobs[1])
    same, pairs, sizes = expected(before, after)
    summary = ledger.run(differences.summarize_comparison, found)
    assert {(pair.kind, pair.before, pair.after): pair.objects for pair in summary.pairs} == pairs
    assert (summary.same, summary.changed, summary.gone, summary.new) == (
        same,
        *(sum(count for pair, count in pairs.items() if pair[0] == kind) for kind in DifferenceKind),
    )
    keys = {row["id"]: row["object_key"] for row in ask(ledger, "SELECT id, object_key FROM objects")}
    listed = {kind: list(paged(ledger, found, kind)) for kind in DifferenceKind}
    assert {
        (kind, keys[max(first, second)], score) for kind in listed for score, first, second in listed[kind]
    } == sizes
    for rows in listed.values():
        assert [row[0] for row in rows] == sorted((row[0] for row in rows), reverse=True)
        assert len(rows) == len(set(rows))
    for kind, label_before, label_after in pairs:
        one = list(paged(ledger, found, DifferenceKind(kind), (label_before, label_after), limit=2))
        assert len(one) == pairs[kind, label_before, label_after]
        assert set(one) <= set(listed[DifferenceKind(kind)])
    in_sql = ask(ledger, "SELECT * FROM prediction_diff WHERE before_job = %s AND after_job = %s", *jobs)
    assert Counter(row["kind"] for row in in_sql) == +Counter(
        {"same": same, "changed": summary.changed, "gone": summary.gone, "new": summary.new}
    )
    assert {
        (row["kind"], keys[row["before_id"] or row["after_id"]], row["size"]) for row in in_sql if row["kind"] != "same"
    } == sizes


def test_repeats_are_compared_one_by_one(ledger: Database) -> None:
    """The second answer of the one with the second answer of the other; a third one that only one has is new."""
    before = add_job(ledger, [{b"a": ("cat", 0.5)}, {b"a": ("cat", 0.5)}])
    after = add_job(ledger, [{b"a": ("cat", 0.5)}, {b"a": ("dog", 0.5)}, {b"a": ("dog", 0.5)}])
    summary = ledger.run(differences.summarize_comparison, made(ledger, before, after))
    assert (summary.same, summary.changed, summary.gone, summary.new) == (1, 1, 0, 1)


def test_of_a_key_that_changed_the_newest_version_counts(ledger: Database) -> None:
    """Whether that has a prediction by now or not; the older ones are superseded, and have none."""
    before, after = (add_job(ledger, dict.fromkeys((b"a", b"b", b"c"), ("cat", 0.5))) for _ in range(2))
    for job in (before, after):
        for etag in ("2", "3"):
            changed = [ListedObject(key, etag, 1) for key in (b"a", b"b")]
            ledger.run(listing.upsert_keys, job, changed)
        (row,) = [row for row in ledger.run(objects.pending, job, 0, 9) if row.key == b"a"]
        if job == after:
            ledger.run(predictions.commit, [prediction(row.id, job, "dog")])
    summary = ledger.run(differences.summarize_comparison, made(ledger, before, after))
    assert (summary.same, summary.changed, summary.gone, summary.new) == (1, 0, 0, 1)
    back = ledger.run(differences.summarize_comparison, made(ledger, after, before))
    assert (back.same, back.changed, back.gone, back.new) == (1, 0, 1, 0)


def test_several_connections_make_one_comparison(
    ledger: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "SLICE", 50)
    keys = [b"%05d" % number for number in range(3000)]
    before = add_job(ledger, dict.fromkeys(keys, ("cat", 0.5)))
    after = add_job(ledger, {key: ("dog" if number % 3 else "cat", 0.5) for number, key in enumerate(keys)})
    found = compare(settings, before, after)
    assert found == compare(settings, before, after), "it is kept"
    summary = ledger.run(differences.summarize_comparison, found)
    assert (summary.same, summary.changed, summary.gone, summary.new) == (1000, 2000, 0, 0)


def test_what_somebody_had_begun_who_was_killed_is_done_by_the_next(
    ledger: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice whose transaction never ended is as if it had not begun."""
    monkeypatch.setattr(comparisons, "SLICE", 2)
    before, after = (add_job(ledger, {b"%d" % n: (label, 0.5) for n in range(9)}) for label in ("cat", "dog"))
    number = ledger.run(comparisons.begin, before, after)
    with Database(settings) as other:

        def dies(cursor: LedgerCursor) -> None:
            comparisons.advance(cursor, number)
            cursor.connection.close()
            raise KeyboardInterrupt

        for _ in range(4):
            with pytest.raises(KeyboardInterrupt):
                other.run(dies)
            assert ledger.run(comparisons.advance, number)
    while ledger.run(comparisons.advance, number):
        pass
    found = ledger.run(comparisons.find, number)
    assert found
    assert ledger.run(differences.summarize_comparison, found).changed == 9


def test_a_job_that_changed_is_compared_anew(ledger: Database) -> None:
    """An object that is classified later counts, and nothing is left of the comparison before."""
    before, after = add_job(ledger, {b"a": ("cat", 0.5), b"b": ("cat", 0.5)}), add_job(ledger, {b"a": ("dog", 0.5)})
    first = made(ledger, before, after)
    ask(ledger, "UPDATE objects SET state = 'quarantined', reason = 'corrupt' WHERE job_id = %s", after)
    ask(ledger, "DELETE FROM predictions WHERE job_id = %s", after)
    ask(ledger, "UPDATE counters SET quarantined = quarantined + 1, done = done - 1 WHERE job_id = %s LIMIT 1", after)
    second = made(ledger, before, after)
    assert second.id != first.id
    assert ledger.run(comparisons.find, first.id) is None
    summary = ledger.run(differences.summarize_comparison, second)
    assert (summary.same, summary.changed, summary.gone, summary.new) == (0, 0, 2, 0)
    while ledger.run(comparisons.sweep):
        pass
    for table in ("differences", "comparison_pairs", "comparison_slices"):
        assert {row["comparison_id"] for row in ask(ledger, f"SELECT comparison_id FROM {table}")} == {second.id}
    assert breaches(ledger) == []


def test_so_many_comparisons_are_kept(ledger: Database) -> None:
    jobs = [add_job(ledger, {b"a": (label, 0.5)}) for label in ("cat", "dog", "cat", "cow")]
    kept = [ledger.run(comparisons.begin, jobs[0], after, kept=2) for after in jobs[1:]]
    assert [ledger.run(comparisons.find, each) is not None for each in kept] == [False, True, True]
    while ledger.run(comparisons.sweep):
        pass
    assert {row["id"] for row in ask(ledger, "SELECT id FROM comparisons")} == set(kept[1:])


def test_what_cannot_be_compared_is_refused(ledger: Database) -> None:
    job, elsewhere = add_job(ledger, {}), add_job(ledger, {}, source="s3://other/photos/")
    below = add_job(ledger, {}, source="s3://photos/2024/")
    for before, after, error, told in (
        (job, job, ConfigurationError, "itself"),
        (job, 999, LedgerError, "no job 999"),
        (job, elsewhere, ConfigurationError, "s3://other"),
    ):
        with pytest.raises(error, match=told):
            ledger.run(comparisons.check_pair, before, after)
    ledger.run(comparisons.check_pair, job, below)


def test_versions_mean_the_newest_jobs_of_one_source(ledger: Database) -> None:
    add_job(ledger, {}, "1")
    before = add_job(ledger, {}, "1")
    add_job(ledger, {}, "1", source="s3://photos/2024/")
    ledger.run(add_version, "2")
    with pytest.raises(LedgerError, match="--again"):
        ledger.run(comparisons.job_pair, "animals@1", "animals@2")
    after = add_job(ledger, {}, "2")
    assert ledger.run(comparisons.job_pair, "animals@1", "animals@2") == (before, after)
    assert ledger.run(comparisons.job_pair, "7", "9") == (7, 9)
    assert ledger.run(comparisons.job_pair, "1", "last") == (1, after)
    assert ledger.run(comparisons.job_pair, "last", "1", lambda job: job == before) == (before, 1)
    with pytest.raises(LedgerError, match="no job 99999999999999999999999"):
        ledger.run(comparisons.job_pair, "1", "99999999999999999999999")
    with pytest.raises(ConfigurationError, match="only one of '1' and 'animals@2' is a job"):
        ledger.run(comparisons.job_pair, "1", "animals@2")
    with pytest.raises(ConfigurationError, match="animals@3"):
        ledger.run(comparisons.job_pair, "animals@1", "animals@3")


ROWS = 4000
BIG = {"objects", "predictions", "o", "p", "x", "q", "y", "differences", "r"}


def counted(database: Database, statement: str, *values: object) -> int:
    """Return how many rows and index entries the server reads for a statement."""

    def read() -> int:
        return sum(int(row["Value"]) for row in ask(database, "SHOW SESSION STATUS LIKE 'Handler_read%'"))

    overhead = -(read() - read())
    start = read()
    ask(database, statement, *values)
    return read() - start - overhead


@pytest.fixture
def many(ledger: Database) -> list[int]:
    """Return two jobs whose rows lie among those of a third one, with up-to-date statistics."""
    found = [many_results(ledger, ROWS)[0] for _ in range(3)]
    ask(ledger, "UPDATE predictions SET label = 'other' WHERE job_id = %s AND object_id %% 5 = 0", found[2])
    ask(ledger, "ANALYZE TABLE jobs, objects, predictions, models")
    return [found[0], found[2]]


def test_no_other_jobs_rows_are_read(ledger: Database, many: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row of the two jobs is read a bounded number of times, through an index that begins with the job."""
    monkeypatch.setattr(comparisons, "SLICE", 500)
    seen: list[str] = []
    execute = LedgerCursor.execute

    def note(self: LedgerCursor, query: Any, args: Any = None) -> int:  # noqa: ANN401 - as pymysql has it
        if isinstance(query, str):
            seen.append(self.mogrify(query, args))
        return execute(self, query, args)

    def rows_read() -> int:
        return sum(int(row["Value"]) for row in ask(ledger, "SHOW SESSION STATUS LIKE 'Handler_read%'"))

    monkeypatch.setattr(LedgerCursor, "execute", note)
    start = rows_read()
    found = made(ledger, many[0], many[1])
    of_two = rows_read() - start
    monkeypatch.undo()
    ledger.run(differences.summarize_comparison, found)
    for query in [query.strip() for query in seen if "objects" in query and "SHOW" not in query]:
        for row in ask(ledger, f"EXPLAIN {query}"):
            if row["table"] in BIG:
                assert row["type"] in {"ref", "eq_ref", "range", "const"}, f"{row}\n{query}"
                assert row["key"] in {"one_version", "by_pair", "PRIMARY"}, f"{row}\n{query}"
    # With a hundred thousand rows of other jobs as many are read.
    many_results(ledger, 5 * ROWS)
    number = ledger.run(comparisons.begin, many[1], many[0])
    start = rows_read()
    while ledger.run(comparisons.advance, number):
        pass
    assert rows_read() - start <= of_two * 1.1
    # Four reads of a row of either job, and its neighbour in the index, each way.
    assert of_two <= 20 * 2 * ROWS


def test_a_page_reads_no_more_than_its_rows(ledger: Database, many: list[int]) -> None:
    found = made(ledger, many[0], many[1])
    summary = ledger.run(differences.summarize_comparison, found)
    assert summary.changed == ROWS // 5

    def rows_read() -> int:
        return sum(int(row["Value"]) for row in ask(ledger, "SHOW SESSION STATUS LIKE 'Handler_read%'"))

    first = ledger.run(differences.differences_page, found, CHANGED, limit=50)
    assert first.next
    for place in (None, first.next):
        start = rows_read()
        page = ledger.run(differences.differences_page, found, CHANGED, after=place, limit=50)
        assert len(page.rows) == 50
        assert rows_read() - start < 50 * 16 + 100
    start = rows_read()
    pair = summary.pairs[0]
    ledger.run(differences.differences_page, found, CHANGED, (pair.before, pair.after), limit=50)
    ledger.run(differences.summarize_comparison, found)
    assert rows_read() - start < 50 * 16 + 3 * len(summary.pairs) + 200
    assert GONE not in {pair.kind for pair in summary.pairs}
    assert NEW not in {pair.kind for pair in summary.pairs}


def test_the_view_reads_only_the_two_jobs(ledger: Database, many: list[int]) -> None:
    statement = "SELECT * FROM prediction_diff WHERE before_job = %s AND after_job = %s"
    plan = ask(ledger, f"EXPLAIN {statement}", *many)
    for row in plan:
        if row["table"] in BIG:
            assert row["type"] in {"ref", "eq_ref"}, plan
    before = counted(ledger, statement, *many)
    many_results(ledger, 5 * ROWS)
    assert counted(ledger, statement, *many) <= before * 1.1
