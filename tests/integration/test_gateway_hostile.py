"""The bad and odd files that consumers meet, through page and API: each has its reason, and the good ones an answer."""

from __future__ import annotations

import gzip
import html
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from PIL import Image

from sluice.ledger import Database
from tests.support import archives
from tests.support.corpus import Case, corpus, jpegs
from tests.support.gateway_programs import ApiClient
from tests.support.jobs_running import Operator
from tools.stack import Servers, Stack

PAGE: Final = {"Accept": "text/html"}
AT_ONCE: Final = 9
ZIP: Final = {"Content-Type": "application/zip"}


@dataclass
class Reception:
    """A gateway with workers behind it, somebody who uses it, and what came of it."""

    hanna: ApiClient
    operator: Operator


@pytest.fixture(scope="module")
def reception(servers: Servers) -> Iterator[Reception]:
    servers.start()
    with Stack(servers, "hostile", poll_seconds=0.1) as stack, Database(stack.settings) as database:
        url = stack.start_gateway(gateway_rate=0).url
        stack.start_workers(consumers=1)
        yield Reception(ApiClient.make(database, url, "hanna"), Operator(stack, database))


def tables() -> list[list[Case]]:
    """Return the corpus in handfuls, each with a good picture beside it."""
    good = next(iter(jpegs()))
    cases = corpus()
    step = AT_ONCE - 1
    return [[*cases[begin : begin + step], good] for begin in range(0, len(cases), step)]


def test_through_the_api_each_has_its_reason_and_the_good_ones_an_answer(reception: Reception) -> None:
    for cases in tables():
        files = [("file", (case.name, case.data)) for case in cases]
        answer = reception.hanna.post("/api/v1/predictions", files=files)
        assert answer.status_code == 200, answer.text
        found = answer.json()["predictions"]
        assert {each["name"]: each["reason"] for each in found} == {case.name: case.reason for case in cases}
        for each in found:
            if each["reason"]:
                assert each["detail"], each
                assert each["remedy"], each
                assert (each["id"], each["label"], each["top"]) == (None, None, [])
            else:
                assert each["id"], each
                assert len(each["top"]) == 5
    reception.operator.check()


def test_on_the_page_each_has_its_reason_beside_the_good_ones(reception: Reception) -> None:
    for cases in tables():
        files = [("file", (case.name, case.data)) for case in cases]
        answer = reception.hanna.post("/", files=files, headers=PAGE)
        assert answer.status_code == 200, answer.text
        assert answer.text.count('<li class="card">') == len(cases)
        bad = [case for case in cases if case.reason]
        assert answer.text.count("Not classified: ") == len(bad)
        for case in bad:
            assert f"<h3>{case.name}</h3>" in answer.text
        for case in cases:
            assert case.name in answer.text


@pytest.mark.parametrize(
    "body", ["", "text/plain", "image/jpeg", "application/json", "nonsense", "multipart/form-data"]
)
def test_a_body_of_another_type_is_no_fault_of_ours(reception: Reception, body: str) -> None:
    headers = {"Content-Type": body} if body else {}
    answer = reception.hanna.post("/api/v1/predictions", data=b"\x00\xff" * 40, headers=headers)
    if answer.status_code == 200:
        assert answer.json()["predictions"][0]["reason"] == "not_an_image"
    else:
        assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


NAMES: Final = (
    "../../etc/passwd.jpg",
    "C:\\windows\\x.jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "\u202egpj.exe.jpg",
    "x" * 300 + ".jpg",
    "%00%2e%2e%2f.jpg",
    "{{ 7 * 7 }}.jpg",
    "'; DROP TABLE objects; --.jpg",
    "con.jpg",
)


def test_names_are_names_and_nothing_else(reception: Reception) -> None:
    files = [("file", (name, archives.tile(number))) for number, name in enumerate(NAMES)]
    answer = reception.hanna.post("/api/v1/predictions", files=files)
    assert answer.status_code == 200, answer.text
    assert all(each["label"] for each in answer.json()["predictions"])
    page = reception.hanna.post("/", files=files, headers=PAGE)
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    assert "{{ 7 * 7 }}.jpg" in page.text
    keys = reception.operator.sql("SELECT object_key FROM objects WHERE object_key LIKE %s", "%passwd%")
    assert all(b".." not in row["object_key"].split(b"/") for row in keys)


def test_a_picture_that_is_a_script_too_is_never_served_as_it_came(reception: Reception) -> None:
    """GIF89a is a name in JavaScript: what follows makes it a program, if a browser is given it as one."""
    script = b"*/=1;alert('polyglot');/*"
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(picture, "GIF", comment=script)
    answer = reception.hanna.post("/api/v1/predictions", files={"file": ("a.gif", picture.getvalue())})
    number = answer.json()["predictions"][0]["id"]
    for size in ("thumbnail", "large"):
        served = reception.hanna.get(f"/pictures/{number}/{size}")
        assert (served.status_code, served.headers["content-type"]) == (200, "image/jpeg")
        assert served.headers["x-content-type-options"] == "nosniff"
        assert b"polyglot" not in served.content
        assert not served.content.startswith(b"GIF")


NO_ARCHIVES: Final = {
    "empty.zip": (b"", "0 bytes"),
    "picture.zip": (archives.tile(1), "no zip or tar"),
    "page.zip": (b"<!doctype html><title>404</title>" * 20, "no zip or tar"),
    "begun.zip": (b"PK", "no zip or tar"),
    "headless.zip": (archives.zipped(archives.tiles(3))[100:], "no zip or tar"),
    "gzipped.tar": (gzip.compress(archives.tarred(archives.tiles(3))), "no zip or tar"),
    "is-a-tar.zip": (archives.tarred(archives.tiles(3)), "rename it"),
    "is-a-zip.tar": (archives.zipped(archives.tiles(3)), "rename it"),
    "holiday.tgz": (archives.zipped(archives.tiles(3)), "compressed as a whole"),
    "holiday.zip.exe": (archives.zipped(archives.tiles(3)), "no archive's name"),
    ".zip": (archives.zipped(archives.tiles(3)), "no archive's name"),
}


@pytest.mark.parametrize("name", NO_ARCHIVES)
def test_what_is_no_archive_is_refused_in_words_and_leaves_nothing(reception: Reception, name: str) -> None:
    data, said = NO_ARCHIVES[name]
    before = reception.operator.sql("SELECT COUNT(*) AS n FROM jobs")
    answer = reception.hanna.ask("PUT", f"/api/v1/uploads/{name}", data=data, headers=ZIP)
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json"), answer.text
    assert said in answer.json()["detail"]
    page = reception.hanna.post("/batch", files={"file": (name, data)}, headers=PAGE)
    assert page.status_code == 415
    assert said in html.unescape(page.text)
    assert reception.operator.sql("SELECT COUNT(*) AS n FROM jobs") == before


GOOD: Final = archives.tiles(4, "good/")
MIXED: Final = archives.zipped_pairs(
    [
        *GOOD.items(),
        ("../up.jpg", archives.tile(50)),
        ("/etc/x.jpg", archives.tile(51)),
        ("C:\\x.jpg", archives.tile(52)),
        ("inner.zip", archives.zipped(GOOD)),
        ("zeros.jpg", bytes(5_000_000)),
        ("text.jpg", b"no picture at all, " * 20),
        ("half.jpg", archives.tile(53, 300)[:700]),
        ("good/00000.jpg", archives.tile(54)),
        ("read me.txt", b"no picture either"),
    ]
)
ARCHIVES: Final = {
    "mixed.zip": (
        MIXED,
        sorted(GOOD),
        Counter(member_name=4, nested_archive=1, member_ratio=1, not_an_image=2, truncated=1),
    ),
    "encrypted.zip": (archives.encrypted(archives.zipped(GOOD)), [], Counter(member_encrypted=4)),
    "bzip2.zip": (archives.zipped(GOOD, zipfile.ZIP_BZIP2), [], Counter(member_compression=4)),
    "cut.zip": (archives.zipped(GOOD)[:-100], [], Counter(archive_damaged=1)),
    "cut.tar": (archives.tarred(GOOD)[:2100], None, Counter(archive_damaged=1)),
    "garbage.zip": (b"PK\x03\x04" + bytes(4000), [], Counter(archive_damaged=1)),
    "nothing.zip": (archives.zipped({}), [], Counter()),
}


@pytest.mark.parametrize("way", ["api", "page"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_of_a_hostile_archive_the_good_members_are_answered(reception: Reception, name: str, way: str) -> None:
    data, answered, reasons = ARCHIVES[name]
    if way == "api":
        sent = reception.hanna.ask("PUT", f"/api/v1/uploads/{name}", data=data, headers=ZIP)
        assert sent.status_code == 201, sent.text
        upload = sent.json()["id"]
    else:
        sent = reception.hanna.post("/batch", files={"file": (name, data)}, headers=PAGE)
        assert sent.status_code == 303, sent.text
        upload = sent.headers["location"].rpartition("/")[2]
    job = reception.hanna.get(f"/api/v1/uploads/{upload}").json()["job"]
    assert reception.operator.ended(job).state == "done"
    found = reception.hanna.get(f"/api/v1/uploads/{upload}/prediction.json").json()
    assert list(found) == [name]
    if answered is not None:
        assert sorted(member for member, _ in found[name]) == answered
    refused = reception.hanna.get(f"/api/v1/jobs/{job}/quarantine").json()["objects"]
    assert Counter(each["reason"] for each in refused) == reasons
    assert all(each["description"] and each["remedy"] for each in refused)
    assert all(each["url"].startswith("s3://") for each in refused)
    for path in (f"/batch/{upload}", f"/jobs/{job}", f"/jobs/{job}/quarantine"):
        page = reception.hanna.get(path, headers=PAGE)
        assert page.status_code == 200, page.text
    for each in refused:
        assert html.escape(each["description"]) in html.escape(html.unescape(page.text))
    reception.operator.check()
