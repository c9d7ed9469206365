from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.server import ThreadedMotoServer

from sluice.errors import BuildError
from sluice.images import NO_WEIGHTS, VERSION, digest_of
from trainer.archives.card import read_card
from trainer.archives.making import build, fingerprint, write_archive
from trainer.archives.recipe import read_recipe
from trainer.archives.sources import sha256_of, weights_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def noop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    archive, _, new = build(read_recipe("noop", None), folder, folder, force=False)
    assert new
    return archive


def recipe_text(**changes: str) -> str:
    text = (ROOT / "model_store" / "noop.toml").read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def test_an_archive_says_what_it_is_and_carries_its_decoder(noop: Path) -> None:
    card = read_card(noop)
    assert card is not None
    assert (card["name"], card["version"], len(card["labels"])) == ("noop", "1.0", 1000)
    assert card["labels"][967] == "espresso"
    assert card["preprocessing"]["version"] == VERSION
    assert card["digest"] == digest_of("noop", NO_WEIGHTS, card["preprocessing"], card["labels"])
    with zipfile.ZipFile(noop) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert {"sluice_handler.py", "handlers/architectures.py", "sluice/__init__.py", "sluice/images/decode.py"} <= names
    assert not [name for name in names if "settings" in name or "pycache" in name]
    assert manifest["model"]["modelName"] == "noop"
    assert manifest["model"]["modelVersion"] == "1.0"


def test_what_is_up_to_date_is_not_built_again(noop: Path) -> None:
    before = noop.stat().st_mtime_ns
    recipe = read_recipe("noop", None)
    _, card, new = build(recipe, noop.parent, noop.parent, force=False)
    assert (new, noop.stat().st_mtime_ns) == (False, before)
    assert card["built_from"] == fingerprint(recipe)
    assert fingerprint(replace(recipe, labels=("cat", "dog"))) != card["built_from"]


def test_an_archive_is_the_same_bytes_whenever_it_is_written(noop: Path, tmp_path: Path) -> None:
    card = read_card(noop)
    assert card is not None
    write_archive(card, None, tmp_path / "again.mar")
    assert (tmp_path / "again.mar").read_bytes() == noop.read_bytes()


def test_every_recipe_can_be_read() -> None:
    for path in (ROOT / "model_store").glob("*.toml"):
        recipe = read_recipe(path.stem, None)
        assert recipe.name == path.stem
        assert recipe.weights == "none" or len(recipe.sha256) == 64


def test_random_weights_mark_the_version() -> None:
    recipe = read_recipe("efficientnet-lite0", "random:7")
    assert (recipe.name, recipe.version, recipe.sha256) == ("efficientnet-lite0-random", "1.0-random", "")
    with pytest.raises(BuildError, match="random:1"):
        read_recipe("noop", "random:x")


def test_weights_that_are_not_the_recipes_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"other weights")
    sha256 = read_recipe("resnet18", None).sha256
    with pytest.raises(BuildError, match=r"the recipe wants f37072fd[0-9a-f]{56}: get the file .* copy the recipe"):
        weights_file(str(wrong), sha256, tmp_path, tmp_path)
    with pytest.raises(BuildError, match=r"no weights at .*--weights"):
        weights_file("absent", sha256, tmp_path, tmp_path)


@pytest.fixture
def weights_server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "w.pth").write_bytes(b"some weights")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_weights_come_from_a_url_once(tmp_path: Path, weights_server: str) -> None:
    digest = hashlib.sha256(b"some weights").hexdigest()
    url = f"{weights_server}/w.pth?signed=yes"
    first = weights_file(url, digest, tmp_path, tmp_path / "cache")
    assert first.read_bytes() == b"some weights"
    (tmp_path / "served" / "w.pth").unlink()
    assert weights_file(url, digest, tmp_path, tmp_path / "cache") == first
    assert sha256_of(first) == digest


def test_a_download_that_fails_says_what_else_there_is(tmp_path: Path, weights_server: str) -> None:
    with pytest.raises(BuildError, match=r"404.*--weights PATH.*efficientnet-lite0"):
        weights_file(f"{weights_server}/absent.pth", "0" * 64, tmp_path, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("source", ["package:nowhere/x", "package:os.path/x", "package:torch/../../x", "package:/x"])
def test_a_package_that_lacks_the_file_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(BuildError, match=r"install it|no such file"):
        weights_file(source, "0" * 64, tmp_path, tmp_path)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """Serve S3 with a bucket `models`; the settings lead there."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SLUICE_S3_ENDPOINT": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="models")
    yield client
    server.stop()


def test_weights_come_from_a_bucket_by_the_settings(tmp_path: Path, bucket: S3Client) -> None:
    bucket.put_object(Bucket="models", Key="mine/w.safetensors", Body=b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()
    found = weights_file("s3://models/mine/w.safetensors", digest, tmp_path, tmp_path / "cache")
    assert found.read_bytes() == b"some weights"
    with pytest.raises(BuildError, match="no such object"):
        weights_file("s3://models/absent", digest, tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop = 224": "crop = 999"}, "crop is 999"),
        ({"crop = 224": ""}, "crop"),
        ({'name = "noop"': 'name = "No Op"'}, "small letters"),
        ({'version = "1.0"': ""}, "lacks 'version'"),
        ({'version = "1.0"': "version = 1.0"}, "version is 1.0: expected a text"),
        ({'version = "1.0"': 'version = "1.0"\nspeed = "fast"'}, "speed: expected only architecture"),
        ({'"noop"\nlabels': '"resnet18"\nlabels'}, "every other network needs some"),
        ({'"imagenet-1k"': '"mine.txt"'}, "no file .*mine.txt"),
        ({"[weights]": "[weights"}, "not TOML"),
        ({'from = "none"': 'from = "w.pth"\nsha256 = "f37072fd"'}, "sha256 is 'f37072fd': expected all 64 digits"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(recipe_text(**changes))
    with pytest.raises(BuildError, match=said):
        read_recipe(str(path), None)


def test_the_command_explains_itself(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build-model"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=True).stdout
    assert "scripts/build-model resnet18 --weights" in shown
    done = subprocess.run([script, "absent", "--output", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no recipe 'absent': use one of efficientnet-b0" in done.stderr
    assert "Traceback" not in done.stderr
