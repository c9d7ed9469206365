"""Nobody sees or changes what isn't theirs: other people's ids are answered like ids that there aren't."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sluice.ledger import Database, LedgerCursor, jobs, objects, owners, pictures
from sluice.ledger.pictures import Picture
from sluice.ledger.rows import QuarantineEntry
from tests.support.gateway_programs import ApiClient
from tests.support.ledger_rows import entries, ids_of, list_all
from tools.bench.many_results import many_results
from tools.stack import Servers, Stack

NONE = 4_000_000_000


@dataclass
class TwoPeople:
    """Anna has a job and a dropped picture, Bert hasn't; there is a job of nobody too."""

    database: Database
    anna: ApiClient
    bert: ApiClient
    viewer: ApiClient
    admin: ApiClient
    stranger: ApiClient
    job: int
    object_id: int
    picture: int
    shared: int
    shared_object: int


@pytest.fixture(scope="module")
def two(servers: Servers) -> Iterator[TwoPeople]:
    servers.start()
    with Stack(servers, "rights") as stack, Database(stack.settings) as database:
        url = stack.start_gateway(gateway_anonymous="none").url
        people = {
            name: ApiClient.make(database, url, name, role)
            for name, role in (("anna", "user"), ("bert", "user"), ("viewer", "viewer"), ("admin", "admin"))
        }
        anna = people["anna"].user_id
        own, own_object = many_results(database, 10)
        database.run(own_by, own, anna)
        shared, shared_object = many_results(database, 10)
        picture = Picture(anna, 1, "s3://own/", b"a", "e", 1, b"\x01" * 32, "a.jpg", (("cat", 0.9),), "gateway")
        (dropped,) = database.run(pictures.record, [picture])
        yield TwoPeople(
            database,
            **people,
            stranger=ApiClient(url),
            job=own,
            object_id=own_object,
            picture=dropped,
            shared=shared,
            shared_object=shared_object,
        )


def own_by(cursor: LedgerCursor, job_id: int, user_id: int) -> None:
    cursor.execute("REPLACE INTO job_owners (job_id, user_id) VALUES (%s, %s)", (job_id, user_id))


OF_A_JOB: tuple[tuple[str, str, dict[str, int] | None], ...] = (
    ("GET", "/api/v1/jobs/{id}", None),
    ("PATCH", "/api/v1/jobs/{id}", {"priority": 1}),
    ("POST", "/api/v1/jobs/{id}/pause", None),
    ("POST", "/api/v1/jobs/{id}/resume", None),
    ("POST", "/api/v1/jobs/{id}/cancel", None),
    ("POST", "/api/v1/jobs/{id}/retry", None),
    ("GET", "/api/v1/jobs/{id}/results", None),
    ("GET", "/api/v1/jobs/{id}/results?format=csv", None),
    ("GET", "/api/v1/jobs/{id}/quarantine", None),
    ("POST", "/api/v1/jobs/{id}/quarantine/replay", {}),
)
PAGES_OF_A_JOB = (
    "/jobs/{id}",
    "/jobs/{id}/results",
    "/jobs/{id}/quarantine",
)


@pytest.mark.parametrize(("method", "path", "body"), OF_A_JOB)
def test_anothers_job_is_as_if_it_were_not_there(
    two: TwoPeople, method: str, path: str, body: dict[str, int] | None
) -> None:
    for person in (two.bert, two.viewer):
        answers = [
            person.ask(method, path.format(id=number), **({} if body is None else {"json": body}))
            for number in (two.job, NONE)
        ]
        is_refused = person is two.viewer and method != "GET"
        assert [answer.status_code for answer in answers] == [403 if is_refused else 404] * 2
        said = [answer.json()["detail"] for answer in answers]
        told = [detail.replace(str(number), "N") for detail, number in zip(said, (two.job, NONE), strict=True)]
        assert told[0] == told[1]


@pytest.mark.parametrize("path", PAGES_OF_A_JOB)
def test_pages_of_anothers_job_are_not_there_either(two: TwoPeople, path: str) -> None:
    for number in (two.job, NONE):
        answer = two.bert.get(path.format(id=number), headers={"Accept": "text/html"})
        assert (answer.status_code, "s3://photos" in answer.text) == (404, False)
    assert two.anna.get(path.format(id=two.job)).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), OF_A_JOB)
def test_strangers_are_asked_who_they_are(two: TwoPeople, method: str, path: str, body: dict[str, int] | None) -> None:
    answer = two.stranger.ask(method, path.format(id=two.shared), **({} if body is None else {"json": body}))
    assert answer.status_code == 401


def test_lists_hold_what_is_yours_and_nobodys(two: TwoPeople) -> None:
    def listed(person: ApiClient) -> set[int]:
        return {job["id"] for job in person.get("/api/v1/jobs").json()["jobs"]}

    assert two.job in listed(two.anna)
    assert listed(two.bert) == listed(two.viewer) == {two.shared}
    assert {two.job, two.shared} < listed(two.admin)


def test_nobodys_job_is_seen_by_all_and_changed_by_admins(two: TwoPeople) -> None:
    assert two.viewer.get(f"/api/v1/jobs/{two.shared}/results").status_code == 200
    assert two.bert.ask("PATCH", f"/api/v1/jobs/{two.shared}", json={"priority": 1}).status_code == 403
    assert two.admin.ask("PATCH", f"/api/v1/jobs/{two.shared}", json={"priority": 1}).status_code == 200


def test_reports_are_on_what_one_may_see(two: TwoPeople) -> None:
    for object_id in (two.object_id, two.picture, NONE):
        answer = two.bert.post("/api/v1/feedback", json={"object_id": object_id, "label": "dog"})
        assert answer.status_code == 404
    assert two.anna.post("/api/v1/feedback", json={"object_id": two.picture, "label": "dog"}).status_code == 201
    assert two.viewer.post("/api/v1/feedback", json={"object_id": two.shared_object, "label": "x"}).status_code == 403


def test_reports_are_seen_by_their_author_and_admins(two: TwoPeople) -> None:
    mine = {"object_id": two.shared_object, "label": "=dog()", "comment": "<i>no</i>"}
    for _ in range(2):
        assert two.anna.post("/api/v1/feedback", json=mine).status_code == 201
    assert two.bert.post("/api/v1/feedback", json={**mine, "label": "<b>bird"}).status_code == 201
    of = {
        name: [row for row in person.get("/api/v1/feedback").json()["reports"] if row["object_id"] == two.shared_object]
        for name, person in (("anna", two.anna), ("bert", two.bert), ("admin", two.admin))
    }
    assert [row["label"] for row in of["anna"]] == ["=dog()"]
    assert [row["label"] for row in of["bert"]] == ["<b>bird"]
    assert [row["author"] for row in of["admin"]] == ["bert", "anna"]
    lines = two.anna.get("/api/v1/feedback.csv").text
    assert "'=dog()" in lines
    assert "bird" not in lines
    for person, label in ((two.anna, "=dog()"), (two.bert, "&lt;b&gt;bird")):
        page = person.get("/reports", headers={"Accept": "text/html"}).text
        assert "<i>no</i>" not in page
        assert "<b>bird" not in page
        assert "&lt;i&gt;no" in page
        assert label in page


def test_the_share_that_was_wrong_is_for_admins(two: TwoPeople) -> None:
    assert two.bert.get("/api/v1/feedback/shares").status_code == 403
    for label in ("label-1", "dog"):
        person = two.anna if label == "dog" else two.bert
        body = {"object_id": two.shared_object + 1, "label": label}
        assert person.post("/api/v1/feedback", json=body).status_code == 201
    shares = {row["label"]: row for row in two.admin.get("/api/v1/feedback/shares").json()["labels"]}
    assert shares["label-1"] == {"label": "label-1", "reports": 2, "wrong": 1, "share": 0.5}


def test_only_admins_promote(two: TwoPeople) -> None:
    assert two.bert.post("/api/v1/models/many/1/promote").status_code == 403
    assert two.admin.post("/api/v1/models/many/1/promote").json()["live"] is True
    assert two.admin.post("/api/v1/models/many/9/promote").status_code == 404


def test_a_replay_by_id_takes_nothing_of_other_jobs(two: TwoPeople) -> None:
    """The ids in a request are of the job in its address, or they are nothing."""

    def given_up(cursor: LedgerCursor) -> int:
        job_id = owners.submit_for(cursor, two.anna.user_id, "s3://photos/given-up/")
        jobs.start(cursor, job_id, 1)
        return job_id

    job_id = two.database.run(given_up)
    list_all(two.database, job_id, entries([b"x.jpg"]))
    (object_id,) = ids_of(two.database, job_id).values()
    two.database.run(objects.quarantine, [QuarantineEntry(object_id, "not_an_image", "text")])
    answer = two.admin.post(f"/api/v1/jobs/{two.shared}/quarantine/replay", json={"ids": [object_id]})
    assert answer.json()["replayed"] == 0
    answer = two.anna.post(f"/api/v1/jobs/{job_id}/quarantine/replay", json={"ids": [object_id]})
    assert answer.json()["replayed"] == 1
