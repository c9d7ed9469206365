"""Clients that were written for small classifier services, unchanged against a gateway."""

from __future__ import annotations

import io
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import jwt
import numpy as np
import pytest
import requests
from PIL import Image

from sluice.ledger import Database
from tests.support import archives
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Stack

ASK_SECONDS: Final = 120
FAILED: Final = {"success": False, "prediction": None, "score": None}
ADA: Final = {"name": "Ada", "email": "Ada@example.com", "password": "a long enough word"}


def picture(number: int, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (64, 80, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


class SmallServiceClient:
    """What a script against such a service does, with `requests` and paths of its own."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, **what: Any) -> requests.Response:  # noqa: ANN401 - of requests
        return self._session.request(method, self.url + path, timeout=ASK_SECONDS, allow_redirects=False, **what)

    def login(self, user: str, password: str) -> requests.Response:
        form = {"grant_type": "password", "username": user, "password": password}
        return self.ask("POST", "/login", data=form)

    def signed_in(self, user: str, password: str) -> SmallServiceClient:
        answer = self.login(user, password)
        assert answer.status_code == 200, answer.text
        return SmallServiceClient(self.url, answer.json()["access_token"])


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


@pytest.fixture
def gateway(stack: Stack) -> Gateway:
    return stack.start_gateway(gateway_anonymous="user", gateway_classic=True, gateway_signup="open")


def test_pictures_are_answered_as_small_services_do(gateway: Gateway) -> None:
    client = SmallServiceClient(gateway.url)
    for form in ("JPEG", "PNG", "GIF"):
        answer = client.ask("POST", "/predict", files={"file": (f"cat.{form.lower()}", picture(1, form))})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert list(found) == ["success", "prediction", "score"]
        assert found["success"] is True
        assert re.fullmatch(r"\S+", found["prediction"])
        assert round(found["score"], 4) == found["score"]
    for wrong in (
        {"files": {"file": ("cat.jpg", b"no picture")}},
        {"files": {"file": ("cat.txt", picture(1))}},
        {"files": {"file": ("cat.bmp", picture(1))}},
        {"files": {"other": ("cat.jpg", picture(1))}},
        {"data": {"file": "a text"}},
        {"files": {"file": ("cat.jpg", picture(1))}, "data": {"images": "a text"}},
        {"data": b"raw"},
        {},
    ):
        answer = client.ask("POST", "/predict", **wrong)
        assert (answer.status_code, answer.json()) == (400, FAILED)
    assert client.ask("GET", "/predict").status_code == 405
    images = [("images", (f"{number}.jpg", picture(number))) for number in range(5)]
    for path in ("/predict", "/predict/"):
        answer = client.ask("POST", path, files=images)
        assert answer.status_code == 200, answer.text
        assert [len(top) for top in answer.json()] == [10] * 5
        assert all(top[0][1] == max(score for _, score in top) for top in answer.json())
    backwards = client.ask("POST", "/predict/", files=images[::-1]).json()
    assert backwards[::-1] == answer.json()
    assert client.ask("POST", "/predict", files=images * 2).status_code == 413


def test_the_page_takes_a_picture_from_curl(gateway: Gateway, tmp_path: Any) -> None:  # noqa: ANN401 - pytest's
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(picture(1))
    told = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", "-F", f"file=@{photo}", f"{gateway.url}/"],
        capture_output=True,
        text=True,
        timeout=ASK_SECONDS,
        check=True,
    ).stdout
    assert told.endswith("200")
    assert re.search(r"Score <span[^>]*>0\.\d{4}<", told)
    assert re.search(r"Process time <span[^>]*>\d+\.\d{3} s", told)
    client = SmallServiceClient(gateway.url)
    empty = client.ask("POST", "/", files={"file": ("", b"")})
    assert (empty.status_code, empty.headers["location"]) == (303, "/?missing")
    assert "No picture was chosen" in client.ask("GET", empty.headers["location"]).text
    shown = client.ask("GET", "/display/cat.jpg")
    assert shown.status_code == 303
    assert re.fullmatch(r"/pictures/\d+/thumbnail", shown.headers["location"])
    assert client.ask("GET", "/display/dog.jpg").status_code == 404


def test_a_name_is_that_of_the_picture_that_was_dropped_last_under_it(stack: Stack, gateway: Gateway) -> None:
    others = SmallServiceClient(stack.start_gateway(gateway_anonymous="user", gateway_classic=True).url)
    client = SmallServiceClient(gateway.url)

    def drop(number: int, name: str, at: SmallServiceClient = client) -> str:
        files = {"file": (name, picture(number))}
        answer = at.ask("POST", "/api/v1/predictions", files=files)
        return f"/pictures/{answer.json()['predictions'][0]['id']}/thumbnail"

    def shown(name: str) -> str:
        return client.ask("GET", f"/display/{name}").headers["location"]

    one, two = drop(1, "x.jpg"), drop(2, "x.jpg")
    assert (one != two, shown("x.jpg")) == (True, two)
    assert (drop(1, "x.jpg"), shown("x.jpg")) == (one, one)
    assert (drop(2, "other.jpg"), shown("other.jpg")) == (two, two)
    # To another process the answer is known, but not remembered.
    assert (drop(2, "x.jpg", others), shown("x.jpg")) == (two, two)


def test_the_type_of_a_form_may_be_written_in_capitals(gateway: Gateway) -> None:
    form = requests.Request("POST", f"{gateway.url}/predict", files={"file": ("cat.jpg", picture(1))}).prepare()
    form.headers["Content-Type"] = form.headers["Content-Type"].replace("multipart/form-data", "Multipart/Form-Data")
    for path, field in (("/predict", "success"), ("/api/v1/predictions", "predictions")):
        form.url = f"{gateway.url}{path}"
        answer = requests.Session().send(form, timeout=ASK_SECONDS)
        assert answer.status_code == 200, answer.text
        assert answer.json()[field]
    assert [each["name"] for each in answer.json()["predictions"]] == ["cat.jpg"]


def test_a_zip_is_sent_and_asked_for_by_its_name(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    client = SmallServiceClient(gateway.url)
    files = archives.tiles(12, "in/")
    sent = client.ask("POST", "/upload", files={"file": ("x.zip", archives.zipped(files))})
    assert (sent.status_code, sent.json()) == (200, {"message": "File uploaded successfully."})
    early = {"type": "string", "content": "Data is being preprocessed on cloud. Try again later."}
    for name in ("x.zip", "never-sent.zip"):
        answer = client.ask("POST", "/predict-batch", json={"file_name": name})
        assert (answer.status_code, answer.json()) == (200, early)
    assert client.ask("POST", "/upload", files={"file": ("x.zip", b"no zip")}).status_code == 415
    assert client.ask("POST", "/predict-batch", json={}).status_code == 422
    stack.start_workers(consumers=1)
    operator.ended(1)
    answer = client.ask("POST", "/predict-batch", json={"file_name": "x.zip"})
    assert answer.headers["content-disposition"] == "attachment; filename=prediction.json"
    found = json.loads(answer.text)
    assert (list(found), found["type"], list(found["content"])) == (["type", "content"], "json", ["x.zip"])
    assert [name for name, _ in found["content"]["x.zip"]] == sorted(files)
    assert all(len(top) == 10 for _, top in found["content"]["x.zip"])


def test_people_get_tokens_and_see_what_is_theirs(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    stranger = SmallServiceClient(gateway.url)
    made = stranger.ask("POST", "/user/", json=ADA)
    assert made.status_code == 201, made.text
    assert made.json() == {"id": made.json()["id"], "name": "Ada", "email": "ada@example.com"}
    again = stranger.ask("POST", "/user/", json=ADA)
    assert (again.status_code, again.json()) == (400, {"detail": "Email already exists"})
    for wrong in ({**ADA, "name": "A"}, {**ADA, "name": "A" * 51}, {**ADA, "email": "ada"}, {"name": "Ada"}):
        assert stranger.ask("POST", "/user/", json=wrong).status_code == 422
    nobody, guessed = stranger.login("nobody@example.com", "x" * 12), stranger.login(ADA["email"], "x" * 12)
    assert (nobody.status_code, guessed.status_code) == (404, 404)
    assert nobody.content == guessed.content
    answer = stranger.login(ADA["email"], ADA["password"])
    assert answer.status_code == 200
    assert list(answer.json()) == ["access_token", "token_type"]
    assert answer.json()["token_type"] == "bearer"
    token = answer.json()["access_token"]
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 30 * 60
    for method, path in (
        ("GET", "/user/"),
        ("GET", "/user/1"),
        ("DELETE", "/user/1"),
        ("GET", "/feedback/"),
        ("POST", "/feedback/"),
        ("POST", "/model/predict"),
    ):
        assert stranger.ask(method, path).status_code == 401, path
    ada = SmallServiceClient(gateway.url, token)
    assert ada.ask("GET", "/user/").json() == [made.json()]
    assert ada.ask("GET", f"/user/{made.json()['id']}").json() == made.json()
    until(lambda: operator.sql("SELECT id FROM users WHERE role = 'admin'"), "the first admin")
    admin = stranger.signed_in(stack.settings.gateway_admin, stack.admin_password)
    everybody = admin.ask("GET", "/user/")
    assert "argon2" not in everybody.text
    others = [each["id"] for each in everybody.json() if each["id"] != made.json()["id"]]
    assert len(others) == 1
    assert ada.ask("GET", f"/user/{others[0]}").status_code == 404
    assert ada.ask("DELETE", f"/user/{others[0]}").status_code == 404
    assert admin.ask("DELETE", f"/user/{others[0]}").status_code == 409
    answer = ada.ask("POST", "/model/predict", files={"file": ("cat.png", picture(2, "PNG"))})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["success", "prediction", "score", "image_file_name"]
    refused = ada.ask("POST", "/model/predict", files={"file": ("cat.pdf", b"%PDF")})
    assert (refused.status_code, refused.json()) == (400, {"detail": "File type is not supported."})
    said = {"score": 0.5, "predicted_class": "tabby", "image_file_name": "cat.png", "feedback": "it is a lynx"}
    kept = ada.ask("POST", "/feedback/", json=said)
    assert kept.status_code == 201, kept.text
    assert {name: kept.json()[name] for name in said} == said
    assert [each["id"] for each in ada.ask("GET", "/feedback/").json()] == [kept.json()["id"]]
    assert admin.ask("GET", "/feedback/").json() == []
    assert ada.ask("DELETE", f"/user/{made.json()['id']}").status_code == 204
    assert ada.ask("GET", "/user/").status_code == 401


def test_a_report_in_words_is_kept_and_exported(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    stranger = SmallServiceClient(gateway.url)
    page = stranger.ask("GET", "/feedback", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert 'name="report"' in page.text
    assert stranger.ask("POST", "/feedback", data={"report": "=the cat is a lynx"}).status_code == 200
    assert stranger.ask("POST", "/feedback", data={"report": " "}).status_code == 400
    assert stranger.ask("POST", "/feedback", data={"report": "x" * 1001}).status_code == 400
    until(lambda: operator.sql("SELECT id FROM users WHERE role = 'admin'"), "the first admin")
    admin = stranger.signed_in(stack.settings.gateway_admin, stack.admin_password)
    lines = admin.ask("GET", "/api/v1/feedback.csv").text.splitlines()
    assert len(lines) == 2
    assert "'=the cat is a lynx" in lines[1]


def test_strangers_and_the_pages_own_sessions_get_nothing(stack: Stack, operator: Operator) -> None:
    gateway = stack.start_gateway(gateway_classic=True)
    until(lambda: operator.sql("SELECT id FROM users WHERE role = 'admin'"), "the first admin")
    browser = requests.Session()
    form = browser.get(f"{gateway.url}/login", timeout=ASK_SECONDS).text
    csrf = re.search(r'name="csrf" value="([^"]*)"', form)
    assert csrf
    entered = {"csrf": csrf[1], "email": stack.settings.gateway_admin, "password": stack.admin_password, "next": "/"}
    signed_in = browser.post(f"{gateway.url}/login", data=entered, allow_redirects=False, timeout=ASK_SECONDS)
    assert signed_in.status_code == 303
    wrong = browser.post(f"{gateway.url}/login", data={**entered, "csrf": ""}, timeout=ASK_SECONDS)
    assert wrong.status_code == 403
    ours = {"Origin": gateway.url}
    for who in (requests.Session(), browser):
        for path, what in (
            ("/predict", {"files": {"file": ("a.jpg", picture(1))}}),
            ("/predict/", {"files": [("images", ("a.jpg", picture(1)))]}),
            ("/upload", {"files": {"file": ("a.zip", archives.zipped(archives.tiles(1)))}}),
            ("/predict-batch", {"json": {"file_name": "a.zip"}}),
            ("/feedback", {"data": {"report": "words"}}),
            ("/user/", {"json": ADA}),
            ("/", {"files": {"file": ("a.jpg", picture(1))}}),
        ):
            answer = who.post(gateway.url + path, headers=ours, timeout=ASK_SECONDS, **what)
            assert answer.status_code == 401, (path, answer.text)
    plain = stack.start_gateway(gateway_anonymous="user")
    assert requests.post(f"{plain.url}/predict", timeout=ASK_SECONDS).status_code == 404
