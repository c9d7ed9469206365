from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sluice.images import NO_WEIGHTS, VERSION, digest_of
from tools import build_model
from tools.build_model import BuildError, build, fetch_weights, read_card, read_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def noop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    archive, _, new = build(read_recipe("noop", None), folder, force=False)
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


def test_what_is_up_to_date_is_not_built_again(noop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = noop.stat().st_mtime_ns
    _, _, new = build(read_recipe("noop", None), noop.parent, force=False)
    assert (new, noop.stat().st_mtime_ns) == (False, before)
    monkeypatch.setattr(build_model, "fingerprint", lambda _recipe: "changed code")
    _, _, new = build(read_recipe("noop", None), noop.parent, force=False)
    assert new


def test_every_recipe_can_be_read() -> None:
    for path in (ROOT / "model_store").glob("*.toml"):
        recipe = read_recipe(path.stem, None)
        assert recipe.name == path.stem
        assert recipe.weights == "none" or len(recipe.sha256) == 64


def test_random_weights_mark_the_version_and_repeat(tmp_path: Path) -> None:
    recipe = read_recipe("efficientnet-lite0", "random:7")
    assert (recipe.name, recipe.version) == ("efficientnet-lite0-random", "1.0-random")
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        weights = fetch_weights(recipe, tmp_path, tmp_path / name)
        assert weights is not None
        digests.append(build_model.sha256_of(weights))
    assert digests[0] == digests[1]
    with pytest.raises(BuildError, match="random:1"):
        fetch_weights(read_recipe("noop", "random:x"), tmp_path, tmp_path)


def test_weights_that_are_not_the_recipes_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"other weights")
    with pytest.raises(BuildError, match=r"the recipe wants f37072fd[0-9a-f]{56}: get the file .* copy the recipe"):
        fetch_weights(read_recipe("resnet18", str(wrong)), tmp_path, tmp_path)
    with pytest.raises(BuildError, match=r"no weights at .*--weights"):
        fetch_weights(read_recipe("resnet18", str(tmp_path / "absent")), tmp_path, tmp_path)


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
    path = tmp_path / "mine.toml"
    digest = hashlib.sha256(b"some weights").hexdigest()
    path.write_text(recipe_text(**{'from = "none"': f'from = "{weights_server}/w.pth"\nsha256 = "{digest}"'}))
    recipe = read_recipe(str(path), None)
    first = fetch_weights(recipe, tmp_path / "cache", tmp_path)
    assert first is not None
    assert first.read_bytes() == b"some weights"
    (tmp_path / "served" / "w.pth").unlink()
    assert fetch_weights(recipe, tmp_path / "cache", tmp_path) == first


def test_a_download_that_fails_says_what_else_there_is(tmp_path: Path, weights_server: str) -> None:
    recipe = read_recipe("resnet18", f"{weights_server}/absent.pth")
    with pytest.raises(BuildError, match=r"404.*--weights PATH.*efficientnet-lite0"):
        fetch_weights(recipe, tmp_path / "cache", tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"crop = 224": "crop = 999"}, "crop is 999"),
        ({"crop = 224": ""}, "crop"),
        ({'name = "noop"': 'name = "No Op"'}, "small letters"),
        ({'version = "1.0"': ""}, "lacks 'version'"),
        ({'"imagenet-1k"': '"mine"'}, "only 'imagenet-1k'"),
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
