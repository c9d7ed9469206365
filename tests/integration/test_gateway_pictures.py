"""Pictures on pages: drawn anew from their pixels, and for those who may see them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from PIL import Image

from sluice.ledger import Database
from tests.support.gateway_programs import ApiClient
from tools.stack import Servers, Stack

COMMENT = b"<script>alert(1)</script>"


def photo(colour: str, size: tuple[int, int] = (900, 600)) -> bytes:
    """Make a JPEG with a comment in it that a browser might run."""
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "JPEG", comment=COMMENT)
    return written.getvalue()


@dataclass
class TwoViewers:
    """Anna dropped a picture; Bert and strangers didn't."""

    anna: ApiClient
    bert: ApiClient
    admin: ApiClient
    stranger: ApiClient
    picture: int


@pytest.fixture(scope="module")
def viewers(servers: Servers) -> Iterator[TwoViewers]:
    servers.start()
    with Stack(servers, "viewers") as stack, Database(stack.settings) as database:
        url = stack.start_gateway(gateway_anonymous="none").url
        anna, bert, admin = (
            ApiClient.make(database, url, name, role)
            for name, role in (("anna", "user"), ("bert", "user"), ("admin", "admin"))
        )
        answer = anna.post("/api/v1/predictions", data=photo("teal"), headers={"Content-Type": "image/jpeg"})
        assert answer.status_code == 200, answer.text
        picture = answer.json()["predictions"][0]["id"]
        yield TwoViewers(anna, bert, admin, ApiClient(url), picture)


@pytest.mark.parametrize(("size", "longest"), [("thumbnail", 320), ("large", 900)])
def test_a_picture_is_drawn_anew(viewers: TwoViewers, size: str, longest: int) -> None:
    answer = viewers.anna.get(f"/pictures/{viewers.picture}/{size}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"].startswith("private")
    assert COMMENT not in answer.content
    with Image.open(io.BytesIO(answer.content)) as drawn:
        assert (drawn.format, max(drawn.size)) == ("JPEG", longest)
    again = viewers.anna.get(f"/pictures/{viewers.picture}/{size}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_its_page_says_what_it_is(viewers: TwoViewers) -> None:
    answer = viewers.anna.get(f"/pictures/{viewers.picture}", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert f"/pictures/{viewers.picture}/large" in answer.text
    assert "Report incorrect answer" in answer.text
    assert answer.text.count("<meter") == 10


def test_a_heat_map_shows_what_the_model_looked_at(viewers: TwoViewers) -> None:
    query = "/api/v1/predictions?model=efficientnet-lite0@1.0"
    sent = viewers.anna.post(query, data=photo("teal"), headers={"Content-Type": "image/jpeg"})
    picture = sent.json()["predictions"][0]["id"]
    page = viewers.anna.get(f"/pictures/{picture}/why", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert f"/pictures/{picture}/why.jpg" in page.text
    map_of_it = viewers.anna.get(f"/pictures/{picture}/why.jpg")
    assert map_of_it.status_code == 200, map_of_it.text
    with Image.open(io.BytesIO(map_of_it.content)) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (640, 640))
    assert viewers.bert.get(f"/pictures/{picture}/why.jpg").status_code == 404


def test_a_model_that_cannot_say_why_says_so(viewers: TwoViewers) -> None:
    answer = viewers.anna.get(f"/pictures/{viewers.picture}/why.jpg")
    assert answer.status_code == 404
    assert "noop@1.0 can't say why" in answer.json()["detail"]


def test_the_api_is_described_without_scripts_of_others(viewers: TwoViewers) -> None:
    page = viewers.stranger.get("/docs", headers={"Accept": "text/html"})
    assert page.status_code == 200
    paths = viewers.stranger.get("/openapi.json").json()["paths"]
    assert [path for path in paths if path not in page.text] == []
    assert "<script" not in page.text.replace('<script src="/static/', "")


@pytest.mark.parametrize("path", ["", "/thumbnail", "/large"])
def test_nobody_sees_another_s_picture(viewers: TwoViewers, path: str) -> None:
    theirs, none = (f"/pictures/{number}{path}" for number in (viewers.picture, 4_000_000_000))
    assert viewers.admin.get(theirs).status_code == 200
    assert viewers.bert.get(theirs).status_code == viewers.bert.get(none).status_code == 404
    assert viewers.stranger.get(theirs).status_code == viewers.stranger.get(none).status_code
    assert viewers.stranger.get(theirs).status_code in {401, 404}


def test_strangers_who_may_classify_have_their_picture_in_the_page(servers: Servers) -> None:
    with Stack(servers, "strangers") as stack:
        url = stack.start_gateway(gateway_anonymous="user").url
        anybody = ApiClient(url)
        form = anybody.get("/", headers={"Accept": "text/html"})
        token = form.text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = anybody.post(
            "/",
            data={"csrf": token},
            files=[("file", ("<b>.jpg", photo("navy"))), ("file", ("bad.jpg", b"no picture"))],
            headers={"Accept": "text/html", "Origin": url},
        )
        assert answer.status_code == 200, answer.text
        assert answer.text.count('src="data:image/jpeg;base64,') == 1
        assert "&lt;b&gt;.jpg" in answer.text
        assert "<b>.jpg" not in answer.text
        assert "Not classified" in answer.text


def test_a_form_names_model_and_top_and_nothing_else(viewers: TwoViewers) -> None:
    files = {"file": ("teal.jpg", photo("teal"), "image/jpeg")}
    for field, status, said in (
        ({"model": "nope"}, 404, "/api/v1/models lists"),
        ({"top": "eleven"}, 422, "body.top"),
        ({"modle": "x"}, 422, "'modle'"),
    ):
        refused = viewers.anna.post("/api/v1/predictions", files=files, data=field)
        assert refused.status_code == status, refused.text
        assert said in refused.json()["detail"]
    answer = viewers.anna.post(
        "/api/v1/predictions?top=7", files=files, data={"model": "efficientnet-lite0@1.0", "top": "2"}
    )
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["predictions"]
    assert (found["model"], len(found["top"])) == ("efficientnet-lite0@1.0", 2)


def test_head_is_answered_where_get_is(viewers: TwoViewers) -> None:
    for path in (
        "/login",
        "/openapi.json",
        "/api/v1/models",
        "/static/style.css",
        f"/pictures/{viewers.picture}/large",
    ):
        got, head = viewers.anna.get(path), viewers.anna.ask("HEAD", path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        assert head.headers.get("Content-Length") == got.headers.get("Content-Length")
