"""Jobs compared and repeated at a real gateway, with real producers, consumers and two models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.ledger import Database, LedgerCursor
from tests.support.gateway_programs import ApiClient
from tests.support.jobs_running import until
from tools.photos import photos
from tools.stack import Servers, Stack

PHOTOS = "compared"
OTHERS = "compared-too"
COUNT = 30


@dataclass
class Desk:
    """A running stack with a gateway, the people who use it, and two jobs of two models on the same pictures."""

    stack: Stack
    database: Database
    anna: ApiClient
    bob: ApiClient
    viewer: ApiClient
    before: int = 0
    after: int = 0

    def submit(self, path: str, **wish: Any) -> int:  # noqa: ANN401 - JSON
        answer = self.anna.post(path, json=wish)
        assert answer.status_code == 201, answer.text
        job = int(answer.json()["id"])
        until(lambda: self.anna.get(f"/api/v1/jobs/{job}").json()["state"] == "done", f"job {job} is done")
        return job

    def compare(self, **query: Any) -> dict[str, Any]:  # noqa: ANN401 - of a URL
        asked = {"before": self.before, "after": self.after, **query}
        answer = self.anna.get("/api/v1/differences", params=asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def sql(self, statement: str, *values: object) -> None:
        def work(cursor: LedgerCursor) -> None:
            cursor.execute(statement, values or None)

        self.database.run(work)


@pytest.fixture(scope="module")
def desk(servers: Servers) -> Iterator[Desk]:
    servers.start()
    for bucket in (PHOTOS, OTHERS):
        servers.s3.client.create_bucket(Bucket=bucket)
        servers.s3.fill(bucket, list(photos(COUNT)))
    with Stack(servers, "differences", poll_seconds=0.1) as stack, Database(stack.settings) as database:
        stack.start_workers(consumers=1)
        url = stack.start_gateway(gateway_sources=f"s3://{PHOTOS}/").url
        people = [ApiClient.make(database, url, name) for name in ("anna", "bob")]
        found = Desk(stack, database, people[0], people[1], ApiClient.make(database, url, "vic", "viewer"))
        found.before = found.submit("/api/v1/jobs", source=f"s3://{PHOTOS}/", model="noop@1.0")
        found.after = found.submit(f"/api/v1/jobs/{found.before}/again", model="efficientnet-lite0@1.0")
        yield found


def test_two_jobs_are_compared_page_after_page(desk: Desk) -> None:
    first = desk.compare(limit=7)
    assert first["complete"]
    assert (first["before"], first["after"], first["share"]) == (desk.before, desk.after, 1)
    assert first["same"] + first["changed"] == COUNT
    assert (first["gone"], first["new"]) == (0, 0)
    rows, page = first["differences"], first
    while page["next"]:
        page = desk.compare(limit=7, cursor=page["next"])
        rows += page["differences"]
    assert len(rows) == len({row["url"] for row in rows}) == first["changed"]
    assert [row["size"] for row in rows] == sorted((row["size"] for row in rows), reverse=True)
    for row in rows:
        assert row["before"]["label"] != row["after"]["label"]
        assert row["size"] == pytest.approx((row["before"]["score"] + row["after"]["score"]) / 2)
        assert row["before"]["model"].startswith("noop@")
    pair = first["pairs"][0]
    some = desk.compare(**{"from": pair["before"], "to": pair["after"]}, limit=500)["differences"]
    assert len(some) == pair["objects"]
    assert {(row["before"]["label"], row["after"]["label"]) for row in some} == {(pair["before"], pair["after"])}


def test_two_versions_mean_their_newest_jobs(desk: Desk) -> None:
    rows = desk.compare()["differences"]
    found = desk.compare(before=rows[0]["before"]["model"], after=rows[0]["after"]["model"])
    assert (found["before"], found["after"]) == (desk.before, desk.after)


def test_the_page_shows_both_sides(desk: Desk) -> None:
    page = desk.anna.get(f"/differences?before={desk.before}&after={desk.after}", headers={"Accept": "text/html"})
    assert page.status_code == 200
    row = desk.compare()["differences"][0]
    for side in ("before", "after"):
        address = f"/pictures/{row[side]['object_id']}/thumbnail"
        assert address in page.text
        assert desk.anna.get(address).headers["content-type"] == "image/jpeg"


def test_whose_jobs_it_is_not_sees_nothing(desk: Desk) -> None:
    query = {"before": desk.before, "after": desk.after}
    for path in ("/api/v1/differences", "/differences"):
        assert desk.bob.get(path, params=query).status_code == 404
    cursor = desk.compare(limit=1)["next"]
    assert desk.bob.get("/api/v1/differences", params={**query, "cursor": cursor}).status_code == 404
    versions = {side: desk.compare()["differences"][0][side]["model"] for side in ("before", "after")}
    assert desk.bob.get("/api/v1/differences", params=versions).status_code == 409
    assert desk.bob.post(f"/api/v1/jobs/{desk.before}/again", json={}).status_code == 404
    assert desk.viewer.post(f"/api/v1/jobs/{desk.before}/again", json={}).status_code == 403


def test_a_shared_job_of_a_source_that_is_not_permitted_is_not_read_again(desk: Desk) -> None:
    """Jobs of the command line are everybody's to see; having their objects read is another thing."""
    desk.sql("INSERT INTO jobs (source, model) VALUES (%s, 'noop')", f"s3://{OTHERS}/")
    job = desk.anna.get("/api/v1/jobs?limit=1").json()["jobs"][0]["id"]
    until(lambda: desk.anna.get(f"/api/v1/jobs/{job}").json()["state"] == "done", "it is done")
    answer = desk.anna.post(f"/api/v1/jobs/{job}/again", json={"model": "noop"})
    assert answer.status_code == 403, answer.text
    assert desk.anna.get(f"/api/v1/differences?before={desk.before}&after={job}").status_code == 422


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"before": "x"}, 422),
        ({"before": "4000000"}, 404),
        ({"from": "cat"}, 422),
        ({"kind": "gone", "to": "cat"}, 422),
        ({"kind": "same"}, 422),
        ({"cursor": "x"}, 400),
    ],
)
def test_what_makes_no_sense_is_said(desk: Desk, query: dict[str, str], status: int) -> None:
    asked = {"before": desk.before, "after": desk.after, **query}
    answer = desk.anna.get("/api/v1/differences", params=asked)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_a_cursor_of_a_comparison_that_was_made_anew_is_refused(desk: Desk) -> None:
    again = desk.submit(f"/api/v1/jobs/{desk.before}/again", model="noop@1.0")
    answers = desk.anna.get("/api/v1/differences", params={"before": desk.after, "after": again, "limit": 1}).json()
    desk.sql("UPDATE comparisons SET marks = 'others' WHERE after_job = %s", again)
    query = {"before": desk.after, "after": again}
    assert desk.anna.get("/api/v1/differences", params=query).json()["complete"]
    refused = desk.anna.get("/api/v1/differences", params={**query, "cursor": answers["next"]})
    assert refused.status_code == 409
    assert "anew" in refused.json()["detail"]
