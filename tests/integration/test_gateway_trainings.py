"""The pages of trainings: admins ask for them and see what came of them; nobody else sees anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from sluice.ledger import Database, trainings
from sluice.ledger.models import StoredArchive
from tests.support.gateway_house import House, open_house
from tests.support.gateway_programs import ApiClient
from tools.stack import Servers

CARD: Final = {
    "name": "shapes",
    "version": "1.0",
    "digest": "0" * 64,
    "preprocessing": {},
    "labels": ["circle", "square"],
    "metrics": {"accuracy": 0.875, "test_pictures": 8},
    "report": {"classes": [{"label": "circle", "precision": 0.75, "recall": 1.0, "f1": 0.857, "pictures": 3}]},
    "findings": ["few pictures, so expect mistakes"],
    "pictures": {"confusion": "elsewhere/1.0/secret.svg", "other": "x"},
}


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[House]:
    servers.start(servers.database, servers.s3)
    servers.s3.client.create_bucket(Bucket="trained-models")
    with open_house(servers, "trainings", model_store="s3://trained-models/store/") as opened:
        yield opened


def test_an_admin_asks_for_a_training_and_sees_what_came_of_it(house: House) -> None:
    asked = house.admin.submit("/trainings", name="shapes", source="s3://photos/labelled", fine_tune="true")
    assert asked.status_code == 303, asked.text
    with Database(house.stack.settings) as database:
        found = database.run(trainings.last)
        assert found is not None
        assert (found.name, found.source, found.fine_tune) == ("shapes", "s3://photos/labelled", True)
        assert found.made_by
        path = f"/trainings/{found.id}"
        assert "labelled" in house.admin.send("GET", "/trainings").text
        assert 'hx-get="' + path in house.admin.send("GET", path).text
        database.run(trainings.claim, "t")
        assert database.run(trainings.finish, found.id, "t", CARD, StoredArchive("0" * 64, 1)) is not None
    text = house.admin.send("GET", path).text
    assert all(each in text for each in ("0.875", "circle", "expect mistakes", f"{path}/pictures/confusion.svg"))
    assert "hx-get" not in house.admin.send("GET", f"{path}/state").text
    assert house.admin.send("GET", f"{path}/pictures/confusion.svg").status_code == 404, "it isn't in the store"
    drawn = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    house.stack.servers.s3.client.put_object(Bucket="trained-models", Key="store/shapes/1.0/confusion.svg", Body=drawn)
    answer = house.admin.send("GET", f"{path}/pictures/confusion.svg")
    assert (answer.content, answer.headers["content-type"]) == (drawn, "image/svg+xml")
    assert house.admin.send("GET", f"{path}/pictures/other.svg").status_code == 404
    assert house.admin.submit("/trainings", f"{path}/cancel").status_code == 409


def test_what_cant_be_trained_is_said_beside_the_form(house: House) -> None:
    answer = house.admin.submit("/trainings", name="Shapes!", source="s3://photos/")
    assert (answer.status_code, "be a model" in answer.text) == (422, True)
    assert 'value="s3://photos/"' in answer.text
    answer = house.admin.submit("/trainings", name="shapes")
    assert (answer.status_code, "no pictures to learn from" in answer.text) == (422, True)


def test_a_training_is_cancelled_and_goes_on(house: House) -> None:
    house.admin.submit("/trainings", name="more", source="s3://photos/")
    with Database(house.stack.settings) as database:
        found = database.run(trainings.last)
        assert found is not None
        path = f"/trainings/{found.id}"
        for action, state in (("cancel", "cancelled"), ("retry", "pending")):
            assert house.admin.submit(path, f"{path}/{action}").status_code == 303
            assert state in house.admin.get(path).text
        assert house.admin.submit(path, "/trainings/4000000/cancel").status_code == 404


@pytest.mark.parametrize(
    "path", ["/trainings", "/trainings/1", "/trainings/1/state", "/trainings/1/pictures/confusion.svg"]
)
def test_trainings_are_for_admins_alone(house: House, path: str) -> None:
    assert house.ada.send("GET", path).status_code == 403
    assert "/trainings" not in house.ada.send("GET", "/jobs").text
    assert house.ada.send("POST", "/trainings/1/cancel").status_code == 403
    assert house.ada.send("POST", "/trainings", data={"name": "x", "source": "s3://photos/"}).status_code == 403


def test_programs_ask_for_trainings_once_for_each_key(house: House) -> None:
    with Database(house.stack.settings) as database:
        admin, other = (
            ApiClient.make(database, house.url, name, role) for name, role in (("root", "admin"), ("u", "user"))
        )
    wish = {"name": "circles", "source": "s3://photos/circles/", "corrections": True}
    assert admin.post("/api/v1/trainings", json={**wish, "name": "earlier"}).status_code == 201
    key = {"Idempotency-Key": "one"}
    made, again = (admin.ask("POST", "/api/v1/trainings", json=wish, headers=key) for _ in range(2))
    assert (made.status_code, again.json()) == (201, made.json())
    assert (made.json()["state"], made.json()["corrections"], made.json()["made_by"]) == ("pending", True, "root")
    path = f"/api/v1/trainings/{made.json()['id']}"
    page = admin.get("/api/v1/trainings?limit=1").json()
    assert [each["id"] for each in page["trainings"]] == [made.json()["id"]]
    assert admin.get(f"/api/v1/trainings?cursor={page['next']}").json()["trainings"]
    for action, state in (("cancel", "cancelled"), ("cancel", "cancelled"), ("retry", "pending")):
        assert admin.post(f"{path}/{action}").json()["state"] == state
    assert admin.get(path).json()["state"] == "pending"
    for wrong, status in (
        ({"name": "x"}, 422),
        ({"name": "x", "source": "ftp://x"}, 422),
        ({"name": "X", "source": "s3://a/"}, 422),
    ):
        answer = admin.ask("POST", "/api/v1/trainings", json=wrong)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert admin.get("/api/v1/trainings/4000000").status_code == 404
    for method, where in (
        ("GET", "/api/v1/trainings"),
        ("GET", path),
        ("POST", "/api/v1/trainings"),
        ("POST", f"{path}/cancel"),
    ):
        sent = {"json": wish} if where == "/api/v1/trainings" and method == "POST" else {}
        assert other.ask(method, where, **sent).status_code == 403
