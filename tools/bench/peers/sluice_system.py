"""Runs Sluice: TorchServe, a producer and consumers, all started anew, and a job."""

from __future__ import annotations

import time

import sluice
from sluice import ledger
from sluice.ledger import Database, LedgerCursor
from tools.bench import pipeline
from tools.bench.peers.runs import SystemRun
from tools.bench.peers.task import Task
from tools.bench.peers.watch import FamilyWatch
from tools.stack import Servers, Stack, archive_of, card_of


class SluiceSystem:
    """Sluice as a system that can be run."""

    name = "sluice"
    title = "Sluice"

    def __init__(self, servers: Servers, model: str, consumers: int) -> None:
        self.version = sluice.__version__
        self._servers, self._consumers = servers, consumers
        self._model = f"{model}@{card_of(archive_of(model))['version']}"
        self._runs = 0

    def run(self, task: Task, warm: int) -> SystemRun:
        """Classify the bucket with fresh processes and a fresh ledger."""
        del warm
        self._runs += 1
        torchserve = self._servers.torchserve
        with Stack(self._servers, f"sluice_{self._runs}", cache_entries=0) as stack:
            watch = FamilyWatch(
                {
                    "system": lambda: [server.pid for server in (torchserve, *stack.workers)],
                    "s3": lambda: [self._servers.s3.pid],
                    "database": lambda: [self._servers.database.pid],
                }
            )
            began = time.time()
            try:
                with watch:
                    self._servers.start(torchserve)
                    stack.start_workers(self._consumers)
                    with Database(stack.settings) as database:
                        job = database.run(ledger.jobs.submit, f"s3://{task.bucket}", self._model)
                        pipeline.wait_for_end(database, job)
                with Database(stack.settings) as database:
                    committed = database.run(_committed, job)
                    if len(committed) != task.photos:
                        raise SystemExit(f"Sluice wrote {len(committed)} rows of {task.photos}:\n{stack.log_tails()}")
                    return SystemRun(
                        began=began,
                        committed=committed,
                        predictions=pipeline.predictions_of(database, job),
                        families=watch.families,
                        quantiles=pipeline.latency_quantiles(stack),
                    )
            finally:
                torchserve.stop()


def _committed(cursor: LedgerCursor, job: int) -> list[float]:
    """Return when each prediction of a job was written, in order."""
    cursor.execute("SELECT UNIX_TIMESTAMP(created) AS moment FROM predictions WHERE job_id = %s ORDER BY 1", (job,))
    return [float(row["moment"]) for row in cursor.fetchall()]
