"""Measure comparing, rolling back and pruning: two jobs with a million results each, a real database, a real gateway.

Of the second job 5 % have another label, 1 % have no prediction, and 1 % are of keys that the first one doesn't have; a
third job's rows stand beside. It prints how long the comparison takes when it is made (by four connections, as
`sluice diff` does it), its summary and pages over HTTP when it is there, the view `current` around a rollback, and how
long it takes to delete a job.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Final, TypeVar

import requests

from sluice.ledger import Database, LedgerCursor, comparisons, differences, models, pruning
from sluice.ledger.comparing import compare
from tools.bench import host
from tools.bench.many_results import many_results
from tools.stack import Servers, Stack, orderly_end

T = TypeVar("T")

ROWS: Final = 1_000_000
TIMES: Final = 15
TIMEOUT: Final = 60.0
STRIDE: Final = 20_000
LOOKS: Final = {
    "one url": "WHERE object_key = 'dir/000000500.jpg'",
    "one label, 50 rows": "WHERE label = 'label-7' LIMIT 50",
    "50 rows": "LIMIT 50",
}


def main() -> None:
    """Insert the rows, compare, look, roll back, prune; print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"results of each of the two jobs ({ROWS:,})")
    parser.add_argument("--times", type=int, default=TIMES, help=f"how often each page is requested ({TIMES})")
    options = parser.parse_args()
    with orderly_end(), Servers(models=["noop"]) as servers:
        servers.start()
        with Stack(servers, "diff") as stack, Database(stack.settings) as database:
            begun = time.monotonic()
            before = many_results(database, options.rows)[0]
            after, first = many_results(database, options.rows, "2")
            many_results(database, options.rows // 10)
            _change(database, after, first, options.rows)
            print(f"{2.1 * options.rows:,.0f} results made in {time.monotonic() - begun:.0f} s\n", flush=True)
            clocks = host.clocks()
            found, seconds = _timed(lambda: compare(stack.settings, before, after))
            summary, more = _timed(lambda: database.run(differences.summarize_comparison, found))
            print(f"compared, with the summary: {seconds + more:.1f} s")
            print(f"  {summary.same:,} same, {summary.changed:,} changed, {summary.gone:,} gone, {summary.new:,} new\n")
            url = stack.start_gateway(gateway_anonymous="viewer", gateway_rate=0).url
            _pages(url, before, after, options.times)
            _rollback(database)
            _prune(database, after)
            print(f"\nThe host gave {host.stolen(clocks):.0%} of the processors to others meanwhile.")


def _change(database: Database, job_id: int, first: int, rows: int) -> None:
    """Let the second job differ from the first one."""

    def part(cursor: LedgerCursor, low: int, high: int) -> int:
        between = (job_id, low, high)
        where = "job_id = %s AND object_id BETWEEN %s AND %s"
        other = "label = CONCAT('label-', (object_id + 7) %% 50), score = (object_id %% 89) / 89"
        cursor.execute(f"UPDATE predictions SET {other} WHERE {where} AND object_id %% 20 = 0", between)  # noqa: S608 - of constants
        cursor.execute(
            "UPDATE objects SET object_key = CONCAT('new/', SUBSTRING(object_key, 5)) "
            "WHERE job_id = %s AND id BETWEEN %s AND %s AND id %% 100 = 1",
            between,
        )
        gone = cursor.execute(f"DELETE FROM predictions WHERE {where} AND object_id %% 100 = 2", between)  # noqa: S608 - the same
        cursor.execute(
            "UPDATE objects SET state = 'quarantined', reason = 'corrupt' "
            "WHERE job_id = %s AND id BETWEEN %s AND %s AND id %% 100 = 2",
            between,
        )
        return int(gone)

    last = first + 2 * rows  # ids may have gaps
    gone = sum(database.run(part, low, low + STRIDE - 1) for low in range(first, last, STRIDE))
    count = "UPDATE counters SET done = done - %s, quarantined = quarantined + %s WHERE job_id = %s"
    database.run(lambda cursor: cursor.execute(count, (gone, gone, job_id)))
    database.run(lambda cursor: cursor.execute("ANALYZE TABLE jobs, objects, predictions, models"))


def _pages(url: str, before: int, after: int, times: int) -> None:
    session = requests.Session()
    api, page = f"{url}/api/v1/differences", f"{url}/differences"
    jobs: dict[str, object] = {"before": before, "after": after}
    first = _get(session, api, jobs)
    pair = next(each for each in first["pairs"] if each["kind"] == "changed")
    asked: dict[str, tuple[str, dict[str, object]]] = {
        "summary and first page": (api, jobs),
        "next page": (api, {**jobs, "cursor": first["next"]}),
        "first page of a pair of labels": (api, {**jobs, "from": pair["before"], "to": pair["after"]}),
        "first page of what is gone": (api, {**jobs, "kind": "gone"}),
        "first page for people": (page, jobs),
    }
    print("| asked | times |")
    print("| --- | --- |")
    for name, (address, query) in asked.items():
        took = [_timed(lambda a=address, q=query: _asked(session, a, q))[1] * 1000 for _ in range(times)]  # type: ignore[misc]
        print(f"| {name} | {statistics.median(took):.0f} ms, {max(took):.0f} at most |", flush=True)


def _rollback(database: Database) -> None:
    """Print how long after a promotion the view answers, by the other version."""
    print("\n| `current`, asked | after promotion of | transaction and answer |")
    print("| --- | --- | --- |")
    for name, rest in LOOKS.items():
        for version in "12":

            def look(rest: str = rest, version: str = version) -> set[str]:
                database.run(models.promote, "many", version)

                def ask(cursor: LedgerCursor) -> set[str]:
                    cursor.execute(f"SELECT * FROM current {rest}")  # noqa: S608 - the same
                    return {row["model"] for row in cursor.fetchall()}

                return database.run(ask)

            said, seconds = _timed(look)
            if said != {f"many@{version}"}:
                raise SystemExit(f"current answers by {said} after the promotion of version {version}")
            print(f"| {name} | many@{version} | {1000 * seconds:.0f} ms |", flush=True)


def _prune(database: Database, job_id: int) -> None:
    database.run(
        lambda cursor: cursor.execute(
            "UPDATE jobs SET finished = finished - INTERVAL 1 HOUR WHERE id = %s AND state = 'done'", (job_id,)
        )
    )
    if not database.run(pruning.begin, job_id):
        raise SystemExit(f"job {job_id} can't be deleted")
    slices = []
    more, rows = True, 0
    while more:
        (gone, more), seconds = _timed(lambda: database.run(pruning.prune, job_id))
        rows += gone
        slices.append(seconds)
    print(
        f"\npruned: {rows:,} objects in {sum(slices):.0f} s, {1000 * statistics.median(slices):.0f} ms a slice, "
        f"{1000 * max(slices):.0f} at most"
    )
    _, seconds = _timed(lambda: _sweep(database))
    print(f"their comparison: {seconds:.1f} s")


def _sweep(database: Database) -> None:
    while database.run(comparisons.sweep):
        pass


def _get(session: requests.Session, address: str, query: dict[str, object]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = _asked(session, address, query).json()
    return found


def _asked(session: requests.Session, address: str, query: dict[str, object]) -> requests.Response:
    answer = session.get(address, params={name: str(value) for name, value in query.items()}, timeout=TIMEOUT)
    answer.raise_for_status()
    return answer


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begun


if __name__ == "__main__":
    main()
