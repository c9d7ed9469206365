"""Continuous work: jobs one after the other, a watched prefix, and objects that are added, changed and deleted."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Final

import pymysql

from tools.stack import DatabaseServer
from tools.storm.unknown.contents import Content, content, strange_keys
from tools.storm.unknown.journal import GONE, Journal
from tools.storm.unknown.witness import Witness, ask
from tools.storm.unknown.writer import Writer

WATCHED: Final = b"watched/"
PREFIXES: Final = (b"", b"pool/", b"pool/0", b"pool/1", b"watched/", b"strange/")
LOOK_SECONDS: Final = 0.2
CHANGE_SECONDS: Final = 0.4
GIVE_UP_SECONDS: Final = 180.0
MOST_WAITING: Final = 50
"""Maximum backlog of a writer: more would be useless while S3 is away."""
MULTIPART: Final = 0.2


@dataclass(slots=True)
class Submitted:
    """A job of the storm: it must classify what its prefix contained between these times."""

    job: int
    prefix: bytes
    watch: bool
    since: float
    until: float = inf


class Arrivals:
    """Submits jobs with plain SQL, and changes the bucket through the writer."""

    def __init__(self, database: DatabaseServer, schema: str, bucket: str, writer: Writer, journal: Journal) -> None:
        self.jobs: list[Submitted] = []
        self._database = database
        self._schema = schema
        self._bucket = bucket
        self._writer = writer
        self._journal = journal
        self._numbers = itertools.count()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._chance = random.Random()  # noqa: S311 - seeded below

    def fill(self, seed: int, count: int) -> None:
        """Upload the first objects: `count` to the pool, a third of that to the watch, and the strange keys."""
        self._chance.seed(f"contents of {seed}")
        names = [f"pool/{number % 10}/{number:05}.jpg" for number in range(count)]
        names += [f"watched/{number:05}.jpg" for number in range(count // 3)]
        strange = strange_keys(self._chance)
        names += [f"strange/{name}" for name in strange] + [f"watched/{name}" for name in strange[::4]]
        self._writer.fill([(name.encode(), self._content()) for name in names])
        self._writer.forget_folded()

    def start(self, witness: Witness, enough: int) -> None:
        """Submit the watch job and a first other job; then another job whenever less than `enough` is left to do."""
        self._submit(WATCHED, watch=True)
        self._submit(b"", watch=False)
        for work in (lambda: self._keep_submitting(witness, enough), self._keep_changing):
            thread = threading.Thread(target=work, name="arrivals", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop submitting and changing, after the writer has finished its orders."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self._writer.stop()

    def change(self, key: bytes, kind: str) -> None:
        """Order a key to be overwritten, deleted, or deleted and uploaded again with the same bytes."""
        last = self._journal.last(key)
        if last is None:
            return
        if kind == "overwrite":
            self._order_put(key)
        elif kind == "delete":
            self._writer.order(lambda: self._writer.delete(key))
        elif last.etag != GONE and last.content is not None:
            again, parts = last.content, "-" in last.etag
            self._writer.order(lambda: self._writer.delete(key))
            self._writer.order(lambda: self._writer.put(key, again, parts=parts))

    def _order_put(self, key: bytes) -> None:
        new, parts = self._content(), self._chance.random() < MULTIPART
        self._writer.order(lambda: self._writer.put(key, new, parts=parts))

    def _content(self) -> Content:
        return content(next(self._numbers), self._chance)

    def _keep_changing(self) -> None:
        fresh = (b"watched/new-%05d.jpg" % number for number in itertools.count())
        while not self._ending.wait(CHANGE_SECONDS):
            if self._writer.waiting < MOST_WAITING:
                self._change_something(fresh)

    def _change_something(self, fresh: Iterator[bytes]) -> None:
        (kind,) = self._chance.choices(["new", "overwrite", "delete", "delete-and-put"], [4, 4, 1, 1])
        if kind == "new":
            self._order_put(next(fresh))
        else:
            self.change(self._chance.choice(self._journal.list_keys()), kind)

    def _keep_submitting(self, witness: Witness, enough: int) -> None:
        prefixes = itertools.cycle(self._chance.sample(PREFIXES, k=len(PREFIXES)))
        while not self._ending.wait(LOOK_SECONDS):
            if witness.sight.answered and witness.sight.pending < enough and witness.sight.running < 3:  # noqa: PLR2004
                self._submit(next(prefixes), watch=False)
                witness.sight.answered = False

    def _submit(self, prefix: bytes, *, watch: bool) -> None:
        """Insert the job as a person would; if the answer is lost, check whether it exists."""
        since = time.monotonic()
        source = f"s3://{self._bucket}/{prefix.decode()}"
        while True:
            try:
                found = ask(self._database, self._schema, "SELECT id FROM jobs ORDER BY id")
                if len(found) > len(self.jobs):
                    self.jobs.append(Submitted(found[-1]["id"], prefix, watch, since))
                    return
                columns = "INSERT INTO jobs (source, watch, watch_seconds) VALUES (%s, %s, 2)"
                ask(self._database, self._schema, columns, (source, watch))
            except (pymysql.MySQLError, OSError):
                if time.monotonic() - since > GIVE_UP_SECONDS:
                    raise
                time.sleep(LOOK_SECONDS)
