"""The Batch page, as a browser without script uses it: send an archive, see how far it is, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest
import requests

from sluice.ledger import Database
from tests.support import archives
from tests.support.jobs_running import Operator, until
from tools.stack import Gateway, Stack

ASK_SECONDS: Final = 120
PAGE: Final = {"Accept": "text/html"}


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


@pytest.fixture
def gateway(stack: Stack) -> Gateway:
    return stack.start_gateway(gateway_anonymous="user")


def field(page: str, name: str) -> str:
    """Return what a form's hidden field holds."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def sign_in(browser: requests.Session, stack: Stack, gateway: Gateway) -> None:
    form = browser.get(f"{gateway.url}/login", timeout=ASK_SECONDS).text
    entered = {"csrf": field(form, "csrf"), "email": stack.settings.gateway_admin, "password": stack.admin_password}
    answer = browser.post(f"{gateway.url}/login", data=entered, headers={"Origin": gateway.url}, timeout=ASK_SECONDS)
    assert answer.status_code == 200, answer.text


def test_an_archive_is_sent_and_followed_without_script(stack: Stack, operator: Operator, gateway: Gateway) -> None:
    browser = requests.Session()
    browser.headers.update({**PAGE, "Origin": gateway.url})
    until(lambda: operator.sql("SELECT id FROM users WHERE role = 'admin'"), "the first admin")
    sign_in(browser, stack, gateway)
    form = browser.get(f"{gateway.url}/batch", timeout=ASK_SECONDS)
    assert form.status_code == 200, form.text
    csrf = {"csrf": field(form.text, "csrf"), "model": ""}
    data = archives.zipped({**archives.tiles(30), "read me.txt": b"no picture"})
    sent = browser.post(f"{gateway.url}/batch", data=csrf, files={"file": ("holiday.zip", data)}, timeout=ASK_SECONDS)
    assert sent.status_code == 200, sent.text
    assert re.fullmatch(rf"{gateway.url}/batch/[0-9a-f]{{32}}", sent.url)
    assert "Data is being preprocessed." in sent.text
    assert f'hx-get="{sent.url.removeprefix(gateway.url)}/state"' in sent.text
    stack.start_workers(consumers=1)
    (job,) = operator.sql("SELECT id FROM jobs")
    operator.ended(job["id"])
    done = browser.get(sent.url, timeout=ASK_SECONDS).text
    assert "hx-get" not in done
    assert done.count('class="card"') == 24
    assert "The first 24 of 30" in done
    assert "classified (1)" in done
    for kind in ("csv", "jsonl", "parquet"):
        where = f"/api/v1/uploads/{sent.url[-32:]}/results?format={kind}"
        assert where in done
        file = browser.get(gateway.url + where, timeout=ASK_SECONDS)
        assert file.status_code == 200, file.text
    assert f"/api/v1/uploads/{sent.url[-32:]}/prediction.json" in done
    stranger = requests.Session()
    assert stranger.get(sent.url, timeout=ASK_SECONDS).status_code == 404
    assert stranger.get(f"{gateway.url}/api/v1/uploads/{sent.url[-32:]}", timeout=ASK_SECONDS).status_code == 404
    part = browser.get(f"{sent.url}/state", timeout=ASK_SECONDS).text
    assert "<html" not in part
    assert part.count('class="card"') == 24
    assert "holiday.zip" in browser.get(f"{gateway.url}/batch", timeout=ASK_SECONDS).text


def test_what_is_wrong_is_said_beside_the_form(operator: Operator, gateway: Gateway) -> None:
    browser = requests.Session()
    browser.headers.update(PAGE)
    form = browser.get(f"{gateway.url}/batch", timeout=ASK_SECONDS).text
    csrf = {"csrf": field(form, "csrf")}
    whole = archives.zipped(archives.tiles(2))
    for fields, file, status, said in (
        (csrf, ("holiday.jpg", whole), 415, "no archive&#39;s name"),
        (csrf, ("holiday.zip", b"nothing"), 415, "no zip or tar"),
        (csrf, ("", b""), 400, "no archive was sent"),
        ({}, ("holiday.zip", whole), 403, "form is too old"),
        ({"csrf": "guessed"}, ("holiday.zip", whole), 403, "form is too old"),
    ):
        answer = browser.post(f"{gateway.url}/batch", data=fields, files={"file": file}, timeout=ASK_SECONDS)
        assert answer.status_code == status, answer.text
        assert said in answer.text
    assert browser.get(f"{gateway.url}/batch/{'0' * 32}", timeout=ASK_SECONDS).status_code == 404
    assert operator.sql("SELECT id FROM jobs") == []
