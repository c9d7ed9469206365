"""Which keys an upload would use, and what it rejects before it begins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluice.cli.upload import find
from sluice.errors import ConfigurationError
from sluice.objects.files import BucketFiles, split
from sluice.settings import read_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "deep/er/b ü.jpg", "deep/.hidden", "empty.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode() if name != "empty.jpg" else b"")
    (tmp_path / "in" / "nothing-here").mkdir()
    (tmp_path / "in" / "inside").symlink_to("a.jpg")
    (tmp_path / "in" / "outside").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "in" / "pipe")
    return tmp_path / "in"


def test_a_folders_keys_are_the_paths_inside_it_and_a_files_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Links out of the folder, and anything that isn't a file, are skipped; skipped links are reported."""
    items = find([folder, folder / "deep" / ".hidden"], "p/")
    assert {item.key: item.path.read_bytes() for item in items} == {
        "p/a.jpg": b"a.jpg",
        "p/inside": b"a.jpg",
        "p/deep/er/b ü.jpg": "deep/er/b ü.jpg".encode(),
        "p/deep/.hidden": b"deep/.hidden",
        "p/empty.jpg": b"",
        "p/.hidden": b"deep/.hidden",
    }
    assert [item.size for item in items if item.key == "p/inside"] == [5]
    assert "in: 1 link left out" in capsys.readouterr().err


def test_two_files_of_one_key_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"in/a\.jpg and .*in/a\.jpg would have one key, 'a\.jpg'"):
        find([folder, folder / "a.jpg"], "")


def test_what_can_have_no_key_is_named(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.jpg: its key would have 1025 bytes"):
        find([folder / "a.jpg"], "p" * 1020)
    with pytest.raises(ConfigurationError, match="nothing to upload"):
        find([folder / "nothing-here"], "")
    with pytest.raises(ConfigurationError, match="absent is neither a file nor a folder"):
        find([folder / "a.jpg", folder / "absent"], "")
    Path(os.fsdecode(bytes(folder / "odd") + b"\xff")).touch()
    with pytest.raises(ConfigurationError, match="isn't UTF-8"):
        find([folder], "")


def test_a_place_in_a_bucket() -> None:
    assert split("s3://photos/a/b.jpg") == ("photos", "a/b.jpg")
    assert split("s3://photos") == split("s3://photos/") == ("photos", "")
    for wrong in ("photos/a", "file:///a", "https://photos/a", "s3:///a", "s3://A_b/c"):
        with pytest.raises(ConfigurationError):
            split(wrong)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SLUICE_S3_PROFILE", "nope", "nope.*correct SLUICE_S3_PROFILE"),
        ("SLUICE_S3_REGION", "no region", "no region.*correct SLUICE_S3_REGION"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:7070", "127.0.0.1:7070.*correct .*AWS_ENDPOINT_URL"),
    ],
)
def test_a_wrong_setting_of_the_bucket_is_named(
    name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_S3_ENDPOINT", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=told):
        BucketFiles("photos", read_settings())
