"""Builds a model archive for TorchServe from a recipe: network, weights, labels, handler and image code in one file.

The archive's model.json describes it. Its digest covers everything that determines a prediction: architecture, weights,
preprocessing and labels.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tools.cache import cache_folder

ROOT: Final = Path(__file__).resolve().parent.parent
STORE: Final = ROOT / "model_store"
HANDLER: Final = ROOT / "handlers" / "sluice_handler.py"
CARRIED: Final = (
    "sluice/__init__.py",
    "sluice/errors.py",
    "sluice/domain/*.py",
    "sluice/images/*.py",
    "handlers/__init__.py",
    "handlers/architectures.py",
    "handlers/explanation.py",
)
WEIGHTS_NAME: Final = "weights.pth"
SHA256: Final = re.compile("[0-9a-f]{64}")
DOWNLOAD_SECONDS: Final = 60

EXAMPLES: Final = """\
examples:
  scripts/build-model                                   the offline default, EfficientNet-Lite0
  scripts/build-model resnet18                          weights from the recipe's source
  scripts/build-model resnet18 --weights ./resnet18-f37072fd.pth
  scripts/build-model resnet18 --weights random:1       for measuring, not for predicting
  scripts/build-model noop --output ./store
  scripts/build-model ./my-model.toml
"""


class BuildError(Exception):
    """Raised when a recipe, its weights or the archiver can't be used; the message says what to do."""


@dataclass(frozen=True)
class Recipe:
    """A file of model_store/, validated."""

    name: str
    version: str
    architecture: str
    weights: str
    sha256: str
    preprocessing: dict[str, Any]


def default_output() -> Path:
    """Return the folder where archives are kept between runs."""
    return cache_folder() / "models"


def read_recipe(which: str, weights: str | None) -> Recipe:
    """Read a recipe by its name in model_store/ or its path."""
    from sluice.images import VERSION, Preprocessing  # noqa: PLC0415 - --help needs no numpy

    path = Path(which) if which.endswith(".toml") else STORE / f"{which}.toml"
    if not path.is_file():
        known = ", ".join(sorted(recipe.stem for recipe in STORE.glob("*.toml")))
        raise BuildError(f"no recipe {which!r}: use one of {known}, or the path of a .toml file")
    try:
        table = tomllib.loads(path.read_text())
        if table["labels"] != "imagenet-1k":
            raise BuildError(f"{path}: labels is {table['labels']!r}: only 'imagenet-1k' is known")
        recipe = Recipe(
            name=str(table["name"]),
            version=str(table["version"]),
            architecture=str(table["architecture"]),
            weights=weights or str(table["weights"]["from"]),
            sha256=str(table["weights"].get("sha256", "")).lower(),
            preprocessing=Preprocessing.from_dict({**table["preprocessing"], "version": VERSION}).to_dict(),
        )
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{path} is not TOML: {error}") from None
    except KeyError as error:
        raise BuildError(f"{path} lacks {error}: compare it with model_store/efficientnet-lite0.toml") from None
    except ValueError as error:
        raise BuildError(f"{path}: {error}") from None
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", recipe.name) or not re.fullmatch(r"[0-9.]{1,16}", recipe.version):
        raise BuildError(f"{path}: name is small letters, digits, '.' and '-'; version is digits and dots")
    if recipe.sha256 and not SHA256.fullmatch(recipe.sha256):
        raise BuildError(
            f"{path}: sha256 is {recipe.sha256!r}: expected all 64 digits of the weights' sum, as sha256sum prints them"
        )
    if recipe.weights.startswith("random:"):
        # Under another name: it must never be mistaken for the real one.
        return replace(recipe, name=f"{recipe.name}-random", version=f"{recipe.version}-random", sha256="")
    return recipe


def imagenet_labels() -> list[str]:
    """Return the 1,000 labels from torchvision's own metadata."""
    from torchvision.models import ResNet18_Weights  # noqa: PLC0415 - takes seconds

    return list(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_weights(recipe: Recipe, cache: Path, scratch: Path) -> Path | None:
    """Find, download or generate the weights, and check them against the recipe's digest."""
    source = recipe.weights
    if source == "none":
        return None
    if source.startswith("random:"):
        return _random_weights(recipe, scratch)
    if source.startswith("package:"):
        package, _, inside = source.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise BuildError(f"the weights come with the Python package {package}: install it, or give --weights PATH")
        path = Path(spec.origin).parent / inside
    elif source.startswith("torchvision:"):
        from torchvision.models import get_weight  # noqa: PLC0415 - takes seconds

        path = _downloaded(str(get_weight(source.removeprefix("torchvision:")).url), cache)
    elif source.startswith(("http://", "https://")):
        path = _downloaded(source, cache)
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        raise BuildError(f"no weights at {path}: give --weights PATH_OR_URL, or --weights random:1 for measuring only")
    found = sha256_of(path)
    if found != recipe.sha256:
        raise BuildError(
            f"{path} has sha256 {found}, the recipe wants {recipe.sha256 or 'none yet'}: get the file that the recipe "
            f"means, or, if these weights are the ones you want, copy the recipe, give it a version of its own and "
            f"this sha256"
        )
    return path


def _random_weights(recipe: Recipe, scratch: Path) -> Path:
    import torch  # noqa: PLC0415 - takes seconds

    from handlers.architectures import build  # noqa: PLC0415 - imports torch

    seed = recipe.weights.removeprefix("random:")
    if not seed.isdigit():
        raise BuildError(f"--weights {recipe.weights}: expected random: and a number, such as random:1")
    torch.manual_seed(int(seed))
    path = scratch / WEIGHTS_NAME
    torch.save(build(recipe.architecture).state_dict(), path)
    return path


def _downloaded(url: str, cache: Path) -> Path:
    """Download once; an interrupted download is never used."""
    path = cache / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    print(f"downloading {url}")
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as answer, part.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError) as error:
        raise BuildError(
            f"{url} can't be downloaded ({error}): fetch it elsewhere and give --weights PATH; efficientnet-lite0 "
            f"needs no download; --weights random:1 will do for measuring"
        ) from None
    else:
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def carried_files() -> dict[str, Path]:
    """Return the code that is put into each archive, by its path there."""
    found = {str(path.relative_to(ROOT)): path for pattern in CARRIED for path in sorted(ROOT.glob(pattern))}
    return {HANDLER.name: HANDLER, **found}


def fingerprint(recipe: Recipe) -> str:
    """Return a digest of the archive's inputs, quickly: without torch, and without opening the weights."""
    told = {
        "recipe": vars(recipe),
        "code": {place: sha256_of(path) for place, path in carried_files().items()},
        "packages": {name: importlib.metadata.version(name) for name in ("torch", "torchvision")},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def model_card(recipe: Recipe, weights: Path | None) -> dict[str, Any]:
    """Return the contents of model.json."""
    from sluice.images import NO_WEIGHTS, digest_of  # noqa: PLC0415 - --help needs no numpy

    labels = imagenet_labels()
    sha256 = sha256_of(weights) if weights else NO_WEIGHTS
    return {
        "name": recipe.name,
        "version": recipe.version,
        "digest": digest_of(recipe.architecture, sha256, recipe.preprocessing, labels),
        "architecture": recipe.architecture,
        "weights": {"file": WEIGHTS_NAME, "sha256": sha256} if weights else None,
        "preprocessing": recipe.preprocessing,
        "labels": labels,
    }


def read_card(archive: Path) -> dict[str, Any] | None:
    """Read model.json from an archive; None if it can't be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            card: dict[str, Any] = json.loads(opened.read("model.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    return card


def archive_model(card: Mapping[str, Any], weights: Path | None, scratch: Path) -> Path:
    """Stage the files and run torch-model-archiver."""
    staged = scratch / "staged"
    for place, path in carried_files().items():
        if path == HANDLER:
            continue
        (staged / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, staged / place)
    (staged / "model.json").write_text(json.dumps(card, indent=1))
    if weights:
        shutil.copy(weights, staged / WEIGHTS_NAME)
    out = scratch / "out"
    (scratch / "tmp").mkdir()
    out.mkdir()
    command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", card["name"]]
    command += ["--version", card["version"], "--handler", str(HANDLER), "--extra-files", str(staged)]
    command += ["--export-path", str(out), "--archive-format", "zip-store"]
    # The archiver stages in a temporary folder named after the model: concurrent builds need their own.
    environment = {**os.environ, "TMPDIR": str(scratch / "tmp")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    made = out / f"{card['name']}.mar"
    if done.returncode or not made.is_file():
        raise BuildError(f"torch-model-archiver failed:\n{done.stderr}{done.stdout}")
    return made


def sample_prediction(archive: Path, scratch: Path) -> str:
    """Let the archive itself predict a photo that scikit-image contains, in another process."""
    skimage = importlib.util.find_spec("skimage")
    if skimage is None or skimage.origin is None:
        return "sample   none: scikit-image, which has the photo, isn't installed"
    unpacked = scratch / "unpacked"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(unpacked)
    command = [sys.executable, str(ROOT / "tools" / "try_model.py"), str(unpacked)]
    command.append(str(Path(skimage.origin).parent / "data" / "coffee.png"))
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(command, env=environment, cwd=unpacked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"the archive was built, but can't predict:\n{done.stderr}")
    return done.stdout.strip()


def build(recipe: Recipe, output: Path, *, force: bool) -> tuple[Path, dict[str, Any], bool]:
    """Build unless an archive of the same recipe and code exists; return it, its card, and whether it is new."""
    output.mkdir(parents=True, exist_ok=True)
    archive = output / f"{recipe.name}.mar"
    built_from = fingerprint(recipe)
    there = read_card(archive)
    if there and there.get("built_from") == built_from and not force:
        return archive, there, False
    with tempfile.TemporaryDirectory(prefix="sluice-build-") as folder:
        scratch = Path(folder)
        weights = fetch_weights(recipe, output.parent / "weights", scratch)
        card = {**model_card(recipe, weights), "built_from": built_from}
        made = archive_model(card, weights, scratch)
        print(sample_prediction(made, scratch))
        # Only an archive that predicts may replace an older one.
        part = archive.with_name(f"{archive.name}.{os.getpid()}.part")
        shutil.move(made, part)
        part.rename(archive)
    return archive, card, True


def main() -> int:
    """Read the command line, build, and print what was built."""
    parser = argparse.ArgumentParser(
        prog="scripts/build-model",
        description="Build a model archive (.mar) for TorchServe from a recipe of model_store/.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", default="efficientnet-lite0", help="name in model_store/, or a .toml file")
    parser.add_argument("--weights", metavar="PATH|URL|random:SEED", help="instead of the recipe's; its sha256 holds")
    parser.add_argument("--output", type=Path, default=default_output(), help="folder (default: %(default)s)")
    parser.add_argument("--force", action="store_true", help="build even if the archive is up to date")
    arguments = parser.parse_args()
    try:
        recipe = read_recipe(arguments.recipe, arguments.weights)
        archive, card, new = build(recipe, arguments.output, force=arguments.force)
    except BuildError as error:
        print(f"build-model: {error}", file=sys.stderr)
        return 2
    print(f"model    {card['name']}@{card['version']}{'' if new else ' (up to date)'}")
    print(f"digest   {card['digest']}")
    print(f"archive  {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
