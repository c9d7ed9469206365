"""Trials on pages and by the API: admins begin, follow and end them; nobody else sees anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sluice.ledger import Database, trials
from tests.support.compared_jobs import add_version
from tests.support.gateway_house import House, open_house
from tests.support.tried_jobs import Tried, add_tried_job
from tools.stack import Servers


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[House]:
    servers.start(servers.database, servers.s3)
    with open_house(servers, "trials") as opened:
        with Database(opened.stack.settings) as database:
            database.run(lambda cursor: add_version(cursor, "1", live=True))
            database.run(add_version, "2")
        yield opened


def test_an_admin_begins_a_trial_and_sees_how_it_does(house: House) -> None:
    wish = {"model": "animals@2", "share": "50 %", "mode": "shadow", "promote_when": "n >= 2000 and accuracy >= -1"}
    made = house.admin.submit("/trials", **wish, stop_when="failures > 5 %")
    assert made.status_code == 303, made.text
    path = made.headers["location"]
    number = int(path.rpartition("/")[2])
    with Database(house.stack.settings) as database:
        found = database.run(trials.attend, number)
        assert found is not None
        assert (found.state, found.wish.share, found.wish.gates.promote_n) == ("running", 0.5, 2000)
        said = {b"a": Tried("cat", "cat"), b"b": Tried("cat", "dog"), b"c": Tried("cat", "dog"), b"d": Tried("cow", "")}
        add_tried_job(database, number, said)
    text = house.admin.send("GET", path).text
    assert all(each in text for each in ("33.33 %", "animals@1", "dog", "20.0 ms", "Stop it"))
    assert "candidate=dog" in text
    shown = house.admin.get(f"/api/v1{path}").json()
    assert (shown["answered"], shown["failed"], shown["mode"]) == (3, 1, "shadow")
    assert [(each["live_label"], each["label"], each["objects"]) for each in shown["pairs"]] == [
        ("cat", "dog", 2),
        ("cow", "", 1),
    ]
    assert [each["id"] for each in house.admin.get("/api/v1/trials").json()["trials"]] == [number]
    assert "animals@2" in house.admin.send("GET", "/trials").text
    assert house.admin.submit(path, f"{path}/stop").status_code == 303
    assert "stopped by" in house.admin.send("GET", path).text


def test_what_cant_be_tried_is_said(house: House) -> None:
    """Beside the form, which stays filled in; in the API as a problem."""
    for wish, why in (
        ({"model": "animals@7", "share": "5"}, "not registered"),
        ({"model": "animals@2", "share": "half"}, "write it in percent"),
        ({"model": "animals@2", "share": "500"}, "the share is 5"),
        ({"model": "animals@2", "promote_when": "soon"}, "write it as"),
    ):
        answer = house.admin.submit("/trials", **wish)
        assert (answer.status_code, why in answer.text) == (422, True), answer.text
        assert f'value="{wish["model"]}"' in answer.text
    headers = {"X-CSRF-Token": house.admin.csrf("/trials")}
    answer = house.admin.send("POST", "/api/v1/trials", json={"model": "animals@1"}, headers=headers)
    assert answer.status_code in {409, 422}
    assert "is live" in answer.json()["detail"]
    made = house.admin.send("POST", "/api/v1/trials", json={"model": "animals@2", "shadow": True}, headers=headers)
    assert made.status_code == 201, made.text
    where = f"/api/v1/trials/{made.json()['id']}"
    with Database(house.stack.settings) as database:
        database.run(lambda cursor: cursor.execute("UPDATE trials SET state = 'promoted' WHERE state <> 'stopped'"))
    assert house.admin.send("POST", f"{where}/stop", headers=headers).status_code == 409
    assert house.admin.send("POST", "/api/v1/trials/4000000/stop", headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/trials", "/trials/1", "/api/v1/trials", "/api/v1/trials/1"])
def test_trials_are_for_admins_alone(house: House, path: str) -> None:
    assert house.ada.send("GET", path).status_code == 403
    assert "/trials" not in house.ada.send("GET", "/jobs").text
    headers = {"X-CSRF-Token": house.ada.csrf("/")}
    assert house.ada.send("POST", "/api/v1/trials/1/stop", headers=headers).status_code == 403
    assert house.ada.send("POST", "/api/v1/trials", json={"model": "animals@2"}, headers=headers).status_code == 403
