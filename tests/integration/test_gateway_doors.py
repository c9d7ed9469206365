"""Who gets in at two real gateways with one ledger, who does not, and for how long."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator

import jwt
import pytest
import requests

from sluice.ledger import Database
from tests.support.gateway_house import House, open_house
from tests.support.gateway_visitors import PASSWORD, TIMEOUT, Visitor
from tests.support.jobs_running import until
from tools.stack import Servers


@pytest.fixture(scope="module")
def house(servers: Servers) -> Iterator[House]:
    """Open the house for this module's tests."""
    with open_house(servers, "doors") as house:
        yield house


def session_of(visitor: Visitor) -> str:
    return visitor.session.cookies["sluice-session"]


def unsigned(claims: dict[str, object]) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims)}."


def encoded(part: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def claims_of(token: str) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return found


def forgeries(house: House) -> dict[str, str]:
    """Return tokens that must open nothing, made of Ada's own."""
    own = session_of(house.ada)
    claims = claims_of(own)
    head, body, signature = own.split(".")
    past = {**claims, "exp": int(time.time()) - 10}
    return {
        "alg=none": unsigned(claims),
        "no signature": f"{head}.{body}.",
        "another body": f"{head}.{encoded({**claims, 'sub': '1'})}.{signature}",
        "foreign key": jwt.encode(claims, "another key that is long enough for it", "HS256"),
        "expired": jwt.encode(past, house.key._for("session"), "HS256"),
        "another algorithm": jwt.encode(claims, house.key._for("session"), "HS512"),
        "no expiry": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, house.key._for("session"), "HS256"),
        "another purpose": house.key.sign("access", {"sub": claims["sub"], "sid": claims["sid"]}, 60),
        "a session that isn't there": house.key.sign("session", {"sub": "1", "sid": "made up"}, 60),
        "no session": house.key.sign("session", {"sub": "1"}, 60),
        "nothing": "",
        "no token": "a.b.c",
    }


KINDS = (
    "alg=none",
    "no signature",
    "another body",
    "foreign key",
    "expired",
    "another algorithm",
    "no expiry",
    "another purpose",
    "a session that isn't there",
    "no session",
    "nothing",
    "no token",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_session_opens_nothing(house: House, kind: str) -> None:
    thief = Visitor(house.url)
    thief.session.cookies.set("sluice-session", forgeries(house)[kind])
    assert thief.get("/api/v1/users/me").status_code == 401


@pytest.mark.parametrize("kind", [*KINDS, "the session's cookie itself"])
def test_a_session_or_a_forgery_is_no_bearer(house: House, kind: str) -> None:
    made = {**forgeries(house), "the session's cookie itself": session_of(house.ada)}
    if kind == "another purpose":
        made[kind] = house.key.sign("oidc", {"sid": claims_of(session_of(house.ada))["sid"]}, 60)
    headers = {"Authorization": f"Bearer {made[kind]}"}
    answer = requests.get(f"{house.url}/api/v1/users/me", headers=headers, timeout=TIMEOUT)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_who_shows_a_session_that_lasts_is_let_in(house: House) -> None:
    assert house.ada.get("/api/v1/users/me").json()["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/users", None),
        ("GET", "/api/v1/users/1", None),
        ("PATCH", "/api/v1/users/1", {"active": False}),
        ("DELETE", "/api/v1/users/1", None),
        ("POST", "/api/v1/users", {"name": "x", "email": "x@example.com", "password": PASSWORD}),
        ("GET", "/users", None),
    ],
)
def test_what_is_for_admins_is_refused_to_others(
    house: House, method: str, path: str, body: dict[str, object] | None
) -> None:
    assert house.ada.send(method, path, json=body).status_code == 403
    stranger = Visitor(house.url)
    stranger.session.headers["Accept"] = "application/json"
    assert stranger.send(method, path, json=body).status_code == 401


def test_nobody_sees_or_revokes_another_ones_tokens(house: House) -> None:
    made = house.ada.send("POST", "/api/v1/tokens", json={"name": "mine"}).json()
    assert house.bob.send("DELETE", f"/api/v1/tokens/{made['id']}").status_code == 404
    assert house.admin.send("DELETE", f"/api/v1/tokens/{made['id']}").status_code == 404
    assert made["id"] not in [each["id"] for each in house.bob.get("/api/v1/tokens").json()["tokens"]]
    there = house.bob.send("DELETE", f"/api/v1/tokens/{made['id']}").text
    missing = house.bob.send("DELETE", "/api/v1/tokens/4000000").text
    assert there.replace(f"tokens/{made['id']}", "") == missing.replace("tokens/4000000", "")


def test_a_token_works_until_it_is_revoked_and_is_kept_as_a_digest(house: House) -> None:
    made = house.ada.send("POST", "/api/v1/tokens", json={"name": "program"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    # No origin and no form's token: no browser sends a bearer by itself.
    answer = requests.patch(f"{house.url}/api/v1/users/me", json={"name": "ada"}, headers=headers, timeout=TIMEOUT)
    assert answer.status_code == 200, answer.text
    assert made["token"] not in house.ada.get("/account").text + house.ada.get("/api/v1/tokens").text
    with Database(house.stack.settings) as ledger:
        rows = ledger.run(lambda cursor: (cursor.execute("SELECT * FROM tokens"), cursor.fetchall())[1])
    assert made["token"] not in repr(rows)
    assert house.ada.send("DELETE", f"/api/v1/tokens/{made['id']}").status_code == 204
    for url in (house.url, house.other_url):
        wait_until_refused(url, headers=headers)


def test_the_last_admin_stays(house: House) -> None:
    me = house.admin.get("/api/v1/users/me").json()["id"]
    for change in ({"role": "user"}, {"active": False}):
        assert house.admin.send("PATCH", f"/api/v1/users/{me}", json=change).status_code == 409
    assert house.admin.send("DELETE", f"/api/v1/users/{me}").status_code == 409


@pytest.mark.parametrize("how", ["deactivated", "deleted", "signed out", "signed out everywhere", "password set"])
def test_a_session_ends_on_all_replicas(house: House, how: str) -> None:
    name = how.replace(" ", "-")
    number = house.add(name)
    visitor = house.visitor(name)
    cookies = {"sluice-session": session_of(visitor)}
    for url in (house.url, house.other_url):
        assert requests.get(f"{url}/api/v1/users/me", cookies=cookies, timeout=TIMEOUT).status_code == 200
    ends = {
        "deactivated": lambda: house.admin.send("PATCH", f"/api/v1/users/{number}", json={"active": False}),
        "deleted": lambda: house.admin.send("DELETE", f"/api/v1/users/{number}"),
        "signed out": lambda: visitor.submit("/account", "/logout"),
        "signed out everywhere": lambda: visitor.submit("/account", "/account/sessions/end"),
        "password set": lambda: house.admin.send("PATCH", f"/api/v1/users/{number}", json={"password": PASSWORD * 2}),
    }
    assert ends[how]().ok
    assert requests.get(f"{house.url}/api/v1/users/me", cookies=cookies, timeout=TIMEOUT).status_code == 401
    wait_until_refused(house.other_url, cookies=cookies)


def test_a_lesser_role_holds_on_all_replicas(house: House) -> None:
    number = house.add("eve", "admin")
    eve = house.visitor("eve")
    cookies = {"sluice-session": session_of(eve)}
    assert requests.get(f"{house.other_url}/api/v1/users", cookies=cookies, timeout=TIMEOUT).status_code == 200
    house.admin.send("PATCH", f"/api/v1/users/{number}", json={"role": "viewer"})
    wait_until_refused(house.other_url, "/api/v1/users", 403, cookies=cookies)


def test_a_new_password_ends_other_sessions_but_this(house: House) -> None:
    house.add("carol")
    here, there = house.visitor("carol"), house.visitor("carol")
    answer = here.submit("/account", "/account/password", current="not the password", password=PASSWORD * 2)
    assert answer.status_code == 403
    assert there.get("/api/v1/users/me").status_code == 200
    answer = here.submit("/account", "/account/password", current=PASSWORD, password=PASSWORD * 2)
    assert answer.status_code == 200, answer.text
    assert here.get("/api/v1/users/me").status_code == 200
    assert there.get("/api/v1/users/me").status_code == 401


def test_guesses_at_one_account_have_to_wait(house: House) -> None:
    house.add("victim")
    guesser = Visitor(house.url)
    token = guesser.csrf("/login")
    seen = []
    for number in range(8):
        fields = {"csrf": token, "email": "Victim@example.com ", "password": f"guess number {number}"}
        seen.append(guesser.send("POST", "/login", data=fields))
    statuses = [answer.status_code for answer in seen]
    assert statuses[:5] == [401] * 5
    assert 429 in statuses[5:]
    assert int(next(answer for answer in seen if answer.status_code == 429).headers["retry-after"]) >= 1
    # The other replica knows of it too, and the right password opens nothing meanwhile.
    with Database(house.stack.settings) as ledger:
        ledger.run(lambda cursor: cursor.execute("UPDATE failed_logins SET failures = 12 WHERE failures > 4"))
    late = Visitor(house.other_url).submit("/login", email="victim@example.com", password=PASSWORD)
    assert late.status_code == 429
    with Database(house.stack.settings) as ledger:
        ledger.run(lambda cursor: cursor.execute("DELETE FROM failed_logins"))


def test_unknown_people_and_wrong_passwords_are_answered_alike(house: House) -> None:
    texts = []
    for email in ("nobody@example.com", "bob@example.com"):
        visitor = Visitor(house.url)
        answer = visitor.submit("/login", email=email, password="wrong but long")
        assert answer.status_code == 401
        texts.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert texts[0] == texts[1]


def wait_until_refused(url: str, path: str = "/api/v1/users/me", status: int = 401, **shown: dict[str, str]) -> None:
    """Wait until a replica obeys."""
    until(
        lambda: requests.get(url + path, timeout=TIMEOUT, **shown).status_code == status,  # type: ignore[arg-type]
        f"{path} is answered {status}",
        TIMEOUT,
    )


def test_strangers_are_sent_to_the_login_page_and_back(house: House) -> None:
    visitor = Visitor(house.url)
    answer = visitor.get("/jobs?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fjobs%3Fx%3D1")
    answer = visitor.submit("/login", email="bob@example.com", password=PASSWORD, next="/jobs?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs?x=1")
