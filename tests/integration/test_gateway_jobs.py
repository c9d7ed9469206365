"""Jobs at a real gateway: submitted, watched, steered and looked at while real producers and consumers work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from sluice.domain import Reason
from sluice.ledger import Database
from tests.support.corpus import photo, saved
from tests.support.gateway_programs import TIMEOUT, ApiClient
from tests.support.jobs_running import until
from tools.stack import Servers, Stack

PHOTOS = "gateway-jobs"
ODD = '<b>odd & "bold".jpg'


@dataclass
class Workplace:
    """A running stack with a gateway, and the people who use it."""

    stack: Stack
    database: Database
    anna: ApiClient
    admin: ApiClient

    def submit(self, prefix: str, **wish: Any) -> int:  # noqa: ANN401 - JSON
        answer = self.anna.post("/api/v1/jobs", json={"source": f"s3://{PHOTOS}/{prefix}", **wish})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def job(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.anna.get(f"/api/v1/jobs/{job_id}").json()
        return found

    def done(self, job_id: int) -> dict[str, Any]:
        until(lambda: self.job(job_id)["state"] == "done", f"job {job_id} is done")
        return self.job(job_id)


@pytest.fixture(scope="module")
def work(servers: Servers) -> Iterator[Workplace]:
    servers.start()
    picture = saved(photo(), "JPEG")
    pictures = [(f"2024/{number:02}.jpg", picture) for number in range(12)]
    servers.s3.client.create_bucket(Bucket=PHOTOS)
    servers.s3.fill(PHOTOS, [*pictures, (f"2024/{ODD}", picture), ("2024/notes.txt", b"no picture")])
    with Stack(servers, "jobs", poll_seconds=0.1) as stack, Database(stack.settings) as database:
        stack.start_workers(consumers=1)
        url = stack.start_gateway(gateway_sources=f"s3://{PHOTOS}/").url
        anna = ApiClient.make(database, url, "anna")
        yield Workplace(stack, database, anna, ApiClient.make(database, url, "root", "admin"))


@pytest.fixture(scope="module")
def done(work: Workplace) -> int:
    """Return a job that is done."""
    job_id = work.submit("2024/")
    work.done(job_id)
    return job_id


def test_a_submitted_prefix_becomes_results_and_a_quarantine(work: Workplace, done: int) -> None:
    job = work.job(done)
    assert (job["listed"], job["done"], job["quarantined"]) == (14, 13, 1)
    assert (job["state"], job["may_change"], job["source"]) == ("done", True, f"s3://{PHOTOS}/2024/")
    found = work.anna.get(f"/api/v1/jobs/{done}/results?limit=500").json()
    assert found["next"] is None
    assert {row["name"] for row in found["results"]} == {ODD, *(f"{number:02}.jpg" for number in range(12))}
    (given_up,) = work.anna.get(f"/api/v1/jobs/{done}/quarantine").json()["objects"]
    assert given_up["reason"] == Reason.NOT_AN_IMAGE
    assert (given_up["description"], given_up["remedy"]) == (
        Reason.NOT_AN_IMAGE.description,
        Reason.NOT_AN_IMAGE.remedy,
    )


def test_pages_of_results_follow_each_other(work: Workplace, done: int) -> None:
    found, cursor = list[int](), ""
    while cursor is not None:
        page = work.anna.get(f"/api/v1/jobs/{done}/results?order=-score&limit=5&cursor={cursor}").json()
        found += [row["object_id"] for row in page["results"]]
        cursor = page["next"]
    assert len(found) == len(set(found)) == 13


def test_results_come_as_files_that_are_whole(work: Workplace, done: int) -> None:
    csv = work.anna.get(f"/api/v1/jobs/{done}/results?format=csv")
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.headers["content-disposition"] == f"attachment; filename=job-{done}.csv"
    assert csv.text.count("\r\n") == 14
    lines = work.anna.get(f"/api/v1/jobs/{done}/results?format=jsonl&text=ODD").text.splitlines()
    assert [json.loads(line)["url"] for line in lines] == [f"s3://{PHOTOS}/2024/{ODD}"]
    parquet = work.anna.get(f"/api/v1/jobs/{done}/results?format=parquet").content
    assert (parquet[:4], parquet[-4:]) == (b"PAR1", b"PAR1")


def test_a_replay_tries_again_and_what_fails_comes_back(work: Workplace) -> None:
    job_id = work.submit("2024/notes.txt")
    work.done(job_id)
    answer = work.anna.post(f"/api/v1/jobs/{job_id}/quarantine/replay", json={"reason": Reason.NOT_AN_IMAGE})
    assert answer.json() == {"replayed": 1, "next": None}
    assert work.done(job_id)["quarantined"] == 1
    assert work.anna.post(f"/api/v1/jobs/{job_id}/quarantine/replay", json={"ids": [2**40]}).json()["replayed"] == 0
    answer = work.anna.post(f"/api/v1/jobs/{job_id}/quarantine/replay", json={"reason": "bad luck"})
    assert answer.status_code == 422


def test_a_job_is_paused_resumed_and_cancelled(work: Workplace) -> None:
    job_id = work.submit("watched/", watch=True)
    for action, state in (("pause", "paused"), ("cancel", "cancelled")):
        assert work.anna.post(f"/api/v1/jobs/{job_id}/{action}").json()["state"] == state
    answer = work.anna.post(f"/api/v1/jobs/{job_id}/resume")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "cancelled" in answer.json()["detail"]


def test_the_priority_is_changed(work: Workplace, done: int) -> None:
    answer = work.anna.ask("PATCH", f"/api/v1/jobs/{done}", json={"priority": 7})
    assert answer.json()["priority"] == 7
    assert work.anna.ask("PATCH", f"/api/v1/jobs/{done}", json={"priority": 10**9}).status_code == 422


def test_a_model_that_is_not_there_is_refused_before_the_job_is_made(work: Workplace) -> None:
    before = work.anna.get("/api/v1/jobs").json()["jobs"][0]["id"]
    answer = work.anna.post("/api/v1/jobs", json={"source": f"s3://{PHOTOS}/2024/", "model": "none@1"})
    assert answer.status_code == 422
    assert work.anna.get("/api/v1/jobs").json()["jobs"][0]["id"] == before


def test_jobs_come_in_pages(work: Workplace, done: int) -> None:
    found, cursor = list[int](), ""
    while cursor is not None:
        page = work.admin.get(f"/api/v1/jobs?limit=1&cursor={cursor}").json()
        found += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert found == sorted(found, reverse=True)
    assert done in found


def rows_of(answer: requests.Response) -> Iterator[str]:
    """Return the rows that a stream sends, each as one text."""
    row: list[str] = []
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("data: "):
            row.append(line.removeprefix("data: "))
        elif row:
            yield "".join(row)
            row = []


def test_jobs_are_seen_live_from_submission_to_end(work: Workplace) -> None:
    with work.anna.session.get(f"{work.anna.url}/jobs/events", stream=True, timeout=TIMEOUT) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        rows = rows_of(stream)
        job_id = work.submit("2024/0")
        for row in rows:
            if f'id="job-{job_id}"' in row and ">done<" in row:
                break


def test_a_stream_ends_when_the_gateway_drains(work: Workplace) -> None:
    gateway = work.stack.start_gateway()
    with work.anna.session.get(f"{gateway.url}/jobs/events", stream=True, timeout=TIMEOUT) as stream:
        lines = stream.iter_lines()
        next(lines)
        gateway.terminate()
        for _ in lines:
            pass  # until the stream ends; otherwise the test's time does


def test_pages_show_jobs_results_and_quarantine(work: Workplace, done: int) -> None:
    for path, expected in (
        ("/jobs", f"/jobs/{done}"),
        (f"/jobs/{done}", "Labels"),
        (f"/jobs/{done}/results?label=&score_from=&score_to=&text=&order=score", "/thumbnail"),
        (f"/jobs/{done}/quarantine", Reason.NOT_AN_IMAGE.remedy),
        (f"/jobs/{done}/quarantine?reason=truncated", "Nothing is in quarantine"),
    ):
        answer = work.anna.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 200, path
        assert expected in answer.text, path


def test_names_of_files_are_text_on_a_page(work: Workplace, done: int) -> None:
    text = work.anna.get(f"/jobs/{done}/results", headers={"Accept": "text/html"}).text
    assert "<b>odd" not in text
    assert "&lt;b&gt;odd" in text


@pytest.mark.parametrize(
    "query",
    ["cursor=abc", "cursor=WyJqb2JzIiwxXQ", "order=upside", "score_from=2", "score_to=nan", "limit=0", "text=%00"],
)
def test_what_is_asked_wrongly_is_answered_with_what_is_right(work: Workplace, done: int, query: str) -> None:
    answer = work.anna.get(f"/api/v1/jobs/{done}/results?{query}")
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"source": 7}',
        b'{"source": "s3://photos/", "\\ud800": 1}',
        b'{"source": "s3://photos/\\ud800"}',
        b'{"source": "s3://photos/\\u0000"}',
        b'{"source": "s3://photos/", "priority": 1e400}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_wish_is_refused(work: Workplace, body: bytes) -> None:
    answer = work.anna.post("/api/v1/jobs", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_repeated_request_with_a_key_makes_one_job(work: Workplace) -> None:
    wish = {"source": f"s3://{PHOTOS}/2024/00.jpg"}
    made = [work.anna.post("/api/v1/jobs", json=wish, headers={"Idempotency-Key": "once"}).json() for _ in range(2)]
    assert made[0] == made[1]
    other = work.anna.post("/api/v1/jobs", json={**wish, "priority": 1}, headers={"Idempotency-Key": "once"})
    assert other.status_code == 422
