"""A whole system with something to see on each page: jobs, results, a quarantine, reports, an archive, people."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from PIL import Image, ImageDraw

from sluice.domain.gates import TrialGates
from sluice.ledger import Database, LedgerCursor, Prediction, drifting, models, tallies, trial_predictions, trials
from sluice.ledger.trial_predictions import TrialPrediction
from sluice.ledger.trials import TrialWish
from tests.support import archives
from tests.support.drifting import DAYS, pictures, predictions_of
from tests.support.gateway_house import answers
from tests.support.gateway_visitors import ADMIN, PASSWORD, Visitor
from tests.support.jobs_running import until
from tools.stack import Servers, Stack

BUCKET: Final = "browser"
LARGEST: Final = 2**20
"""Bytes of a picture."""
ADA: Final = "ada@example.com"
SEEING: Final = "efficientnet-lite0@1.0"
"""A model that can say why."""


@dataclass(frozen=True)
class Site:
    """Where pages are, and what is on them."""

    url: str
    stack: Stack
    admin: Visitor
    ada: Visitor
    picture: int
    """A picture that Ada dropped."""
    job: int
    """A job of hers, which is done: ten results, and two objects in quarantine."""
    repeated: int
    """The same objects, answered by another model."""
    upload: str
    """An archive of hers, which is done."""
    trial: int
    """A version that was tried on the job's objects, and said of some what the live version didn't say."""

    @property
    def passwords(self) -> dict[str, str]:
        """Return the passwords by address."""
        return {ADMIN: self.stack.admin_password, ADA: PASSWORD}


@contextlib.contextmanager
def open_site(servers: Servers) -> Iterator[Site]:
    """Run it until the block ends."""
    servers.s3.client.create_bucket(Bucket=BUCKET)
    many = {f"holiday/photo {number:02}.jpg": photo(number) for number in range(10)}
    bad = {"holiday/notes.jpg": b"no picture", "holiday/cut off.jpg": photo(3)[:900]}
    servers.s3.fill(BUCKET, {**many, **bad}.items())
    with Stack(servers, "browser") as stack:
        gateway = stack.start_gateway(
            gateway_anonymous="user",
            gateway_signup="open",
            gateway_sources=f"s3://{BUCKET}/",
            gateway_rate=0,
            gateway_picture_bytes=LARGEST,
        )
        stack.start_workers(consumers=1)
        until(lambda: answers(gateway.url) and "first admin made" in gateway.log_tail(), "the first admin")
        admin = Visitor(gateway.url).sign_in(ADMIN, stack.admin_password)
        wanted = {"name": "Ada", "email": ADA, "password": PASSWORD, "role": "user"}
        assert admin.send("POST", "/api/v1/users", json=wanted).status_code == 201
        ada = Visitor(gateway.url).sign_in(ADA)
        csrf = {"X-CSRF-Token": ada.csrf("/")}
        predict = partial(ada.send, "POST", f"/api/v1/predictions?model={SEEING}", headers=csrf)
        dropped = predict(files={"file": ("teal.jpg", photo(1), "image/jpeg")}).json()["predictions"][0]["id"]
        made = ada.send("POST", "/api/v1/tokens", json={"name": "nightly upload", "days": 90}, headers=csrf)
        assert made.status_code == 201, made.text
        said = {"object_id": dropped, "label": "a teal square", "comment": "with a line in it"}
        assert ada.send("POST", "/api/v1/feedback", json=said, headers=csrf).status_code == 201
        job = ada.send("POST", "/api/v1/jobs", json={"source": f"s3://{BUCKET}/holiday/"}, headers=csrf).json()["id"]
        files = {"file": ("holiday.zip", holiday(12))}
        upload = ada.send("POST", "/api/v1/uploads", files=files, headers=csrf).json()["id"]
        until(lambda: ada.get(f"/api/v1/jobs/{job}").json()["state"] == "done", "the end of the job")
        until(lambda: ada.get(f"/api/v1/uploads/{upload}").json()["state"] == "done", "the end of the archive")
        again = ada.send("POST", f"/api/v1/jobs/{job}/again", json={"model": SEEING}, headers=csrf).json()["id"]
        until(lambda: ada.get(f"/api/v1/jobs/{again}").json()["state"] == "done", "the end of its repetition")
        with Database(stack.settings) as database:
            trial = database.run(try_on, job)
            drift(database, job)
        until(lambda: "running" in admin.get(f"/trials/{trial}").text, "the trial's begin")
        yield Site(gateway.url, stack, admin, ada, dropped, job, again, upload, trial)


def try_on(cursor: LedgerCursor, job: int) -> int:
    """Begin a trial of another version of the job's model, and write what it said as consumers do."""
    cursor.execute("SELECT model_id FROM jobs WHERE id = %s", (job,))
    live = models.get(cursor, (cursor.fetchone() or {"model_id": 0})["model_id"])
    assert live is not None
    models.register(cursor, live.name, "9.0", live.digest, live.preprocessing, live.labels)
    gates = TrialGates(2000, "accuracy")
    number = trials.submit(cursor, TrialWish(f"{live.name}@9.0", 1.0, shadow=True, gates=gates, made_by="Ada"))
    candidate = models.find(cursor, live.name, "9.0")
    assert candidate is not None
    cursor.execute("SELECT object_id, label, score, sha256 FROM predictions WHERE job_id = %s", (job,))
    said = []
    for place, row in enumerate(cursor.fetchall()):
        label = live.labels[-1] if place < 4 else row["label"]
        own = Prediction(row["object_id"], job, candidate.id, label, 0.75, ((label, 0.75),), row["sha256"], "consumer")
        said.append(TrialPrediction(number, own, "", row["label"], row["score"], (0.012, 0.009)))
    trial_predictions.add(cursor, said)
    return number


def drift(database: Database, job: int) -> None:
    """Count a job's pictures many times: as they are, then darkened and with other labels."""
    (model_id, ids), size = database.run(_pictures_of, job), 1000
    bright, dark = (
        predictions_of([ids[place % len(ids)] for place in range(size)], job, shown, model_id)
        for shown in (pictures(size), pictures(size, cats=0.8, brightness=60.0))
    )
    for rows in (bright, bright, bright, dark):
        database.run(tallies.add, {job: rows})
    while database.run(drifting.count, model_id, size, DAYS):
        pass


def _pictures_of(cursor: LedgerCursor, job: int) -> tuple[int, list[int]]:
    cursor.execute("SELECT model_id, object_id FROM predictions WHERE job_id = %s ORDER BY object_id", (job,))
    rows = cursor.fetchall()
    return rows[0]["model_id"], [row["object_id"] for row in rows]


def photo(number: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """Draw a photo, different for each number, of one that is told from the background at a glance."""
    picture = Image.new("RGB", size, ((37 * number) % 256, 120, (200 - 23 * number) % 256))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((size[0] // 4, size[1] // 4, size[0] // 2 + 5 * number, size[1] // 2 + 5 * number), fill="orange")
    written = io.BytesIO()
    picture.save(written, "JPEG")
    return written.getvalue()


def holiday(count: int) -> bytes:
    """Return a zip of so many photos, and one file that is none."""
    return archives.zipped({**{f"{number:02}.jpg": photo(number) for number in range(count)}, "read me.txt": b"none"})
