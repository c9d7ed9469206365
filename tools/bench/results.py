"""Measure pages of results: one job with a million of them, a real database, a real gateway, over HTTP.

For each order and filter it requests the first page and one in the middle several times, and prints the slowest and the
median. A page of the API has 50 results; a page for people has 48 pictures, and the most frequent labels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Final

import requests

from gateway.cursors import encode
from sluice.ledger import Database
from sluice.ledger.browse import Place, ResultsOrder
from tools.bench import host
from tools.bench.many_results import LABELS, SCORES, many_results
from tools.stack import Servers, Stack, orderly_end

ROWS: Final = 1_000_000
TIMES: Final = 15
TIMEOUT: Final = 60.0
FILTERS: Final = {
    "all": {},
    "one label": {"label": "label-7"},
    "scores 0.2 to 0.3": {"score_from": "0.2", "score_to": "0.3"},
    "name with 77": {"text": "77.jpg"},
    "name that is nowhere": {"text": "nowhere"},
}


def main() -> None:
    """Insert the rows, request the pages, print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"results of the job ({ROWS:,})")
    parser.add_argument("--times", type=int, default=TIMES, help=f"how often each page is requested ({TIMES})")
    options = parser.parse_args()
    with orderly_end(), Servers(models=["noop"]) as servers:
        servers.start()
        with Stack(servers, "results") as stack:
            begun = time.monotonic()
            with Database(stack.settings) as database:
                job_id, first_id = many_results(database, options.rows)
            print(f"{options.rows:,} results made in {time.monotonic() - begun:.0f} s\n", flush=True)
            clocks = host.clocks()
            url = stack.start_gateway(gateway_anonymous="viewer", gateway_rate=0).url
            _measure(url, job_id, first_id, options.rows, options.times)
            print(f"\nThe host gave {host.stolen(clocks):.0%} of the processors to others meanwhile.")


def _measure(url: str, job_id: int, first_id: int, rows: int, times: int) -> None:
    print("| order | filter | first page | in the middle | page for people |")
    print("| --- | --- | --- | --- | --- |")
    session = requests.Session()
    for order in ResultsOrder:
        for name, wanted in FILTERS.items():
            query = {**wanted, "order": str(order)}
            middle = {**query, "cursor": encode(f"results {order}", _middle(order, wanted, first_id, rows))}
            asked = [
                (f"{url}/api/v1/jobs/{job_id}/results", query),
                (f"{url}/api/v1/jobs/{job_id}/results", middle),
                (f"{url}/jobs/{job_id}/results", query),
            ]
            took = [_times(session, address, parameters, times) for address, parameters in asked]
            shown = " | ".join(f"{statistics.median(each):.0f} ms, {max(each):.0f} at most" for each in took)
            print(f"| {order} | {name} | {shown} |", flush=True)


def _middle(order: ResultsOrder, wanted: dict[str, str], first_id: int, rows: int) -> Place:
    """Return the position of the result in the middle of the job, as `many_results` made it."""
    number = rows // 2
    label, score, object_id = f"label-{number % LABELS}", number % SCORES / SCORES, first_id + number
    if order is ResultsOrder.OBJECT:
        return (object_id,)
    return (label, score, object_id) if order is ResultsOrder.LABEL and "label" not in wanted else (score, object_id)


def _times(session: requests.Session, address: str, parameters: dict[str, str], times: int) -> list[float]:
    """Return the milliseconds of each answer."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        answer = session.get(address, params=parameters, timeout=TIMEOUT)
        found.append(1000 * (time.perf_counter() - begun))
        answer.raise_for_status()
    return found


if __name__ == "__main__":
    main()
