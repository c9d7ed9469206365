"""The commands that upload to and download from a bucket, on a real S3 server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.ledger import Database
from tests.support.cli_runs import Sluice, run_in_process
from tests.support.jobs_running import Operator
from tests.support.model_archives import CARD, write_archive
from tools.stack import S3Server, Stack


@pytest.fixture
def sluice(s3: S3Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Sluice:
    """Return the command, run in this process: it returns exit code, output and standard error."""
    return run_in_process({**s3.environment, "SLUICE_S3_ENDPOINT": s3.endpoint}, monkeypatch, capfd)


def keys(s3: S3Server, bucket: str) -> set[str]:
    return {entry["Key"] for entry in s3.client.list_objects_v2(Bucket=bucket).get("Contents", [])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(700):
        path = tmp_path / "in" / f"{number % 7}" / f"{number:03} ü+%.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    return tmp_path / "in"


def test_a_folder_is_uploaded(sluice: Sluice, s3: S3Server, bucket: str, folder: Path) -> None:
    code, out, _ = sluice("upload", folder, f"s3://{bucket}/2024/")
    assert code == 0
    assert re.fullmatch(rf"700 files, 0\.2 MB in [\d.]+ s: s3://{bucket}/2024/\n", out)
    assert keys(s3, bucket) == {f"2024/{path.relative_to(folder)}" for path in folder.rglob("*.jpg")}
    found = s3.client.get_object(Bucket=bucket, Key="2024/3/003 ü+%.jpg")
    assert (found["Body"].read(), found["ContentType"]) == (b"xxx", "image/jpeg")


def test_a_large_file_goes_in_parts(sluice: Sluice, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(20 * 1024 * 1024))
    assert sluice("upload", tmp_path / "large.bin", f"s3://{bucket}")[0] == 0
    assert s3.client.head_object(Bucket=bucket, Key="large.bin")["ContentLength"] == 20 * 1024 * 1024


def test_what_stops_an_upload_is_named(
    sluice: Sluice, s3: S3Server, bucket: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = sluice("upload", folder, "s3://no-such-bucket/")
    assert (code, out) == (3, "")
    assert "0 of 700 files were uploaded" in err
    assert re.search(
        r"error: .*ü\+%\.jpg can't be put at s3://no-such-bucket/.*: bucket no-such-bucket does not exist", err
    )
    assert sluice("upload", folder, f"s3://{bucket}/2024")[0] == 2
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, _, err = sluice("upload", folder / "0", f"s3://{bucket}/")
    assert code == 3
    assert "check credentials" in err
    assert keys(s3, bucket) == set()


def test_an_archive_is_fetched_whole_or_not_at_all(sluice: Sluice, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    s3.client.upload_file(str(write_archive(tmp_path / "m.mar")), bucket, "store/m.mar")
    store = tmp_path / "new" / "store"
    code, out, _ = sluice("models", "fetch", f"s3://{bucket}/store/m.mar", store)
    assert (code, out) == (0, f"{store}/m.mar: m@1.0, digest {CARD['digest']}\n")
    before = (store / "m.mar").read_bytes()
    s3.client.put_object(Bucket=bucket, Key="store/m.mar", Body=b"PK no archive")
    code, _, err = sluice("models", "fetch", f"s3://{bucket}/store/m.mar", store)
    assert code == 2
    assert err.startswith(f"error: s3://{bucket}/store/m.mar isn't a model archive with a model.json")
    assert sluice("models", "fetch", f"s3://{bucket}/absent.mar", store)[0] == 3
    assert sluice("models", "fetch", f"s3://{bucket}/store/", store)[0] == 2
    assert [path.name for path in store.iterdir()] == ["m.mar"]
    assert (store / "m.mar").read_bytes() == before


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    with Database(stack.settings) as database:
        yield Operator(stack, database)


def test_the_selftest_prints_the_row_of_its_picture(
    stack: Stack, operator: Operator, s3: S3Server, bucket: str
) -> None:
    stack.start_workers(consumers=1)
    for place in (f"s3://{bucket}/", f"s3://{bucket}/deep/er/"):
        done = operator.command("selftest", place)
        assert done.returncode == 0, done.stderr
        (row,) = operator.sql("SELECT * FROM results ORDER BY object_id DESC LIMIT 1")
        assert row["url"].startswith(f"{place}selftest-")
        assert done.stdout == f"{row['url']}: {row['label']} {row['score']:.4f} (noop@1.0)\n"
    assert keys(s3, bucket) == set(), "the pictures are removed again"
    assert len({row["sha256"] for row in operator.sql("SELECT sha256 FROM predictions")}) == 2
    operator.check()


def test_a_selftest_that_gets_stuck_says_where(stack: Stack, operator: Operator, s3: S3Server, bucket: str) -> None:
    place = f"s3://{bucket}/"
    done = operator.command("selftest", place, "--timeout", "2")
    assert done.returncode == 1
    assert "error: no row within 2 s: no producer has begun the job" in done.stderr
    producer = stack.add_producer()
    producer.start()
    producer.wait_ready()
    done = operator.command("selftest", place, "--timeout", "4")
    assert done.returncode == 1
    assert "error: no row within 4 s: the picture is listed, no consumer has committed its answer" in done.stderr
    assert {row["state"] for row in operator.sql("SELECT state FROM jobs")} == {"cancelled"}
    assert keys(s3, bucket) == set()
    assert operator.command("selftest", "s3://no-such-bucket/").returncode == 3
    assert operator.command("selftest", place, SLUICE_DATABASE_URL="mysql://u@127.0.0.1:9/x").returncode == 3
