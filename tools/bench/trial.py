"""Measure what a trial costs a job: the same photos with and without one, in turn, by the same processes."""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack
from typing import Any, Final

from handlers.agent.management import Management
from sluice import ledger
from sluice.errors import NotServed
from sluice.ledger import Database, models, trials
from sluice.ledger.trials import TrialWish
from sluice.store.publishing import publish
from tools.bench import host
from tools.bench.photos import write_photos
from tools.bench.pipeline import wait_for_end
from tools.cache import cache_folder
from tools.stack import Servers, Stack, TorchServe, archive_of
from tools.stack.renamed import renamed
from tools.stack.torchserve import WITH_AGENT
from tools.stack.workers import start_all

BUCKET: Final = "photos"
POLL_SECONDS: Final = 0.1
NAME: Final = "tried"


def main() -> None:
    """Start servers and processes, run jobs in pairs, and print what was measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench trial", description=__doc__)
    parser.add_argument("--model", default="efficientnet-lite0", help="both versions' network (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.1, help="of the objects (default: %(default)s)")
    parser.add_argument("--photos", type=int, default=400, help="of each job (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="of jobs, one with and one without (default: %(default)s)")
    arguments = parser.parse_args()
    with ExitStack() as exits:
        servers = exits.enter_context(Servers())
        servers.start(servers.database, servers.s3)
        models = [archive_of("noop")]
        served = TorchServe(servers.folder, servers.leash, models, name="served", workers=None, options=WITH_AGENT)
        exits.callback(served.stop)
        served.start()
        served.wait_ready()
        store = f"file://{servers.folder}/published/"
        stack = exits.enter_context(Stack(servers, torchserve=served.address, model_store=store, cache_entries=0))
        start_all(stack.add_agent(served))
        photos = write_photos(cache_folder() / "bench" / f"photos-{arguments.photos}", arguments.photos)
        servers.s3.fill(BUCKET, ((path.name, path.read_bytes()) for path in photos))
        database = exits.enter_context(Database(stack.settings))
        for version in ("1.0", "2.0"):
            publish(renamed(servers.folder, NAME, version, arguments.model), stack.settings, database)
        live(database)
        settle(served)
        stack.start_workers(consumers=1)
        job(database, 0.0)  # whatever is slow at first
        measured: list[tuple[float, float]] = []
        for number in range(arguments.pairs):
            clocks = host.clocks()
            shares = (0.0, arguments.share) if number % 2 else (arguments.share, 0.0)
            found = dict(zip(shares, [job(database, share) for share in shares], strict=True))
            measured.append((found[0.0], found[arguments.share]))
            without, beside = measured[-1]
            stolen = 100 * host.stolen(clocks)
            print(f"without {without:.1f}, with {beside:.1f} images/s: {beside / without:.3f}, {stolen:.0f} % stolen")
        breaches = database.run(ledger.check.check)
        (told,) = ask(
            database, "SELECT SUM(failure = '') AS answered, SUM(failure <> '') AS failed, COUNT(*) AS n "
            "FROM trial_predictions"
        )  # fmt: skip
    ratio = statistics.median(beside / without for without, beside in measured)
    print(f"throughput with a {100 * arguments.share:g} % shadow: {ratio:.3f} of without (median of {len(measured)})")
    print(f"candidate: {told['answered']} answers, {told['failed']} failures; {len(breaches)} broken invariants")


def live(database: Database) -> None:
    """Make the first version live once both are served."""
    for version in ("2.0", "1.0"):
        while True:
            try:
                database.run(models.promote, NAME, version)
                break
            except NotServed:
                time.sleep(POLL_SECONDS)


def settle(served: TorchServe) -> None:
    """Wait until the agent has given the live version all its processes, and the other one its only one."""
    management = Management(f"http://127.0.0.1:{served.ports['management_port']}")
    while not served.is_whole(f"{NAME}/1.0") or management.versions()[NAME, "2.0"].workers != 1:
        time.sleep(POLL_SECONDS)


def job(database: Database, share: float) -> float:
    """Run a job, with a shadow of this share if any; return images per second between its begin and its last commit."""
    trial = database.run(trials.submit, TrialWish(f"{NAME}@2.0", share, shadow=True)) if share else 0
    while trial and not ask(database, "SELECT 1 FROM trials WHERE id = %s AND state = 'running'", trial):
        time.sleep(POLL_SECONDS)
    number = database.run(ledger.jobs.submit, f"s3://{BUCKET}/", NAME)
    wait_for_end(database, number)
    if trial:
        database.run(trials.stop, trial)
    (row,) = ask(
        database,
        "SELECT COUNT(*) AS n, TIMESTAMPDIFF(MICROSECOND, MIN(j.started), MAX(p.created)) / 1e6 AS seconds "
        "FROM predictions p JOIN jobs j ON j.id = p.job_id WHERE p.job_id = %s",
        number,
    )
    return float(row["n"]) / float(row["seconds"])


def ask(database: Database, statement: str, *values: object) -> list[dict[str, Any]]:
    """Return the rows of a query."""

    def work(cursor: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the ledger's cursor
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())

    return database.run(work)


if __name__ == "__main__":
    main()
