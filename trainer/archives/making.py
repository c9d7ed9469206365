"""From a recipe to an archive that was tried: the same recipe, code and packages give the same bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from sluice.domain.running import FP32, OPENVINO, TORCH
from sluice.errors import BuildError, WeightsError
from trainer.archives.card import CARD, model_card, read_card
from trainer.archives.labels import imagenet_labels
from trainer.archives.recipe import EXPORT, NOOP, ROOT, Recipe
from trainer.archives.sources import sha256_of, weights_file
from trainer.archives.zips import add

HANDLER: Final = ROOT / "handlers" / "sluice_handler.py"
CARRIED: Final = (
    "sluice/__init__.py",
    "sluice/errors.py",
    "sluice/domain/*.py",
    "sluice/images/*.py",
    "handlers/__init__.py",
    "handlers/architectures.py",
    "handlers/compiled.py",
    "handlers/explanation.py",
    "handlers/folding.py",
    "handlers/graphs.py",
    "handlers/loaded.py",
    "handlers/networks.py",
    "handlers/programs.py",
    "handlers/quantised.py",
    "handlers/running.py",
)
WEIGHTS: Final = "weights.safetensors"
PROGRAM: Final = "program.pt2"
MANIFEST: Final = "MAR-INF/MANIFEST.json"
SAMPLE: Final = Path(__file__).with_name("sample.py")
SAMPLE_SECONDS: Final = 600
SAID: Final = 3000
PACKAGES: Final = ("torch", "torchvision", "safetensors", "openvino", "nncf")
"""The last two may be missing: archives are made for torch then, and none in int8."""


def build(recipe: Recipe, output: Path, cache: Path, *, force: bool) -> tuple[Path, dict[str, Any], bool]:
    """Build unless an archive of the same recipe and code is there; say which archive, what it is, whether it's new."""
    archive = output / f"{recipe.name}.mar"
    built_from = fingerprint(recipe)
    there = read_card(archive)
    if there and there.get("built_from") == built_from and not force:
        return archive, there, False
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sluice-build-") as folder:
        scratch = Path(folder)
        labels = imagenet_labels() if recipe.labels is None else recipe.labels
        try:
            weights = _weights(recipe, len(labels), cache, scratch)
            quantised = None
            if weights is not None and recipe.calibration is not None:
                from trainer.archives.fewer_bits import measured  # noqa: PLC0415 - imports torch

                recipe, quantised = measured(recipe, recipe.calibration, labels, weights)
        except WeightsError as error:
            raise BuildError(str(error)) from error
        # Only an archive that predicts takes the place of an older one.
        part = archive.with_name(f"{archive.name}.{os.getpid()}.part")
        try:
            card, said = make_archive(recipe, labels, weights, part, quantised, built_from=built_from)
            print(said, flush=True)
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)
    return archive, card, True


def make_archive(
    recipe: Recipe,
    labels: Sequence[str],
    weights: Path | None,
    path: Path,
    quantised: Path | None = None,
    **more: str,
) -> tuple[dict[str, Any], str]:
    """Write an archive and try it; return its card, to which `more` is added, and what it said of a photo.

    Where the recipe names no runtime, it is the first that answers as torch does.
    """
    runtimes = _runtimes(recipe)
    for runtime in runtimes:
        card = {**model_card(recipe, labels, weights, runtime, quantised), **more}
        write_archive(card, weights, path, quantised)
        try:
            with tempfile.TemporaryDirectory(prefix="sluice-try-") as unpacked:
                return card, try_archive(path, Path(unpacked))
        except BuildError as error:
            if runtime == runtimes[-1]:
                raise
            print(f"{runtime} isn't taken: {error}", flush=True)
    raise AssertionError(runtimes)


def _runtimes(recipe: Recipe) -> tuple[str, ...]:
    """Return the runtimes to try, the fastest first."""
    if recipe.runtime or recipe.precision != FP32:
        return (recipe.runtime or OPENVINO,)
    if recipe.architecture == NOOP or importlib.util.find_spec(OPENVINO) is None:
        return (TORCH,)
    return OPENVINO, TORCH


def fingerprint(recipe: Recipe) -> str:
    """Digest what an archive is made from, in a moment: neither torch nor the weights are opened for it."""
    told = {
        "recipe": {name: value for name, value in asdict(recipe).items() if name != "base"},
        "code": {place: sha256_of(path) for place, path in carried_files().items()},
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def carried_files() -> dict[str, Path]:
    """Return the code that goes into each archive, by its place there."""
    found = {str(path.relative_to(ROOT)): path for pattern in CARRIED for path in sorted(ROOT.glob(pattern))}
    return {HANDLER.name: HANDLER, **found}


def write_archive(card: Mapping[str, Any], weights: Path | None, path: Path, quantised: Path | None = None) -> None:
    """Have torch-model-archiver pack code, weights and card, and write what it packed without the time of that."""
    with tempfile.TemporaryDirectory(prefix="sluice-archive-") as folder:
        scratch = Path(folder)
        staged = scratch / "staged"
        for place, carried in carried_files().items():
            if carried != HANDLER:
                (staged / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(carried, staged / place)
        (staged / CARD).write_text(json.dumps(card, indent=1))
        for part in (weights, quantised):
            if part:
                shutil.copy(part, staged / part.name)
        packed = _pack(card, staged, scratch)
        with zipfile.ZipFile(packed) as opened, zipfile.ZipFile(path, "w") as made:
            for name in sorted(name for name in opened.namelist() if not name.endswith("/")):
                add(made, name, _without_date(opened.read(name)) if name == MANIFEST else opened.read(name))


def _pack(card: Mapping[str, Any], staged: Path, scratch: Path) -> Path:
    # The archiver stages under the temporary folder in a folder named for the model: two builds must not share it.
    (scratch / "tmp").mkdir()
    command = ["env", f"TMPDIR={scratch / 'tmp'}", sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", card["name"]]
    command += ["--version", card["version"], "--handler", str(HANDLER), "--extra-files", str(staged)]
    command += ["--export-path", str(scratch), "--archive-format", "zip-store"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this file's own words
    packed = scratch / f"{card['name']}.mar"
    if done.returncode or not packed.is_file():
        raise BuildError(f"torch-model-archiver failed:\n{(done.stderr + done.stdout)[-SAID:]}")
    return packed


def _without_date(manifest: bytes) -> bytes:
    told = json.loads(manifest)
    del told["createdOn"]
    return json.dumps(told, indent=2).encode()


def _weights(recipe: Recipe, classes: int, cache: Path, scratch: Path) -> Path | None:
    """Put what the archive carries into `scratch`: weights that fit the network, or a program that was checked."""
    if recipe.weights == "none":
        return None
    if recipe.architecture == EXPORT:
        return _program(recipe, classes, cache, scratch)
    import torch  # noqa: PLC0415 - takes seconds

    from handlers.architectures import build as build_network  # noqa: PLC0415 - imports torch
    from trainer.archives.weights import fit, read_tensors, write_weights  # noqa: PLC0415 - the same

    is_random = recipe.weights.startswith("random:")
    if is_random:
        torch.manual_seed(int(recipe.weights.removeprefix("random:")))
    try:
        network = build_network(recipe.architecture, classes)
    except ValueError as error:
        raise BuildError(str(error)) from error
    if not is_random:
        source = weights_file(recipe.weights, recipe.sha256, recipe.base, cache)
        fit(network, read_tensors(source), source.name)
    path = scratch / WEIGHTS
    write_weights(network, path)
    return path


def _program(recipe: Recipe, classes: int, cache: Path, scratch: Path) -> Path:
    from handlers.programs import read_program  # noqa: PLC0415 - imports torch
    from trainer.archives.programs import write_program  # noqa: PLC0415 - the same

    source = weights_file(recipe.weights, recipe.sha256, recipe.base, cache)
    program = read_program(source)
    if program.classes != classes:
        raise BuildError(f"{source.name} gives {program.classes} scores, the recipe has {classes} labels: one for each")
    if program.crop != recipe.preprocessing["crop"]:
        raise BuildError(f"{source.name} takes pictures of {program.crop} x {program.crop}: set crop to that")
    path = scratch / PROGRAM
    write_program(source, program, path)
    return path


def try_archive(archive: Path, unpacked: Path) -> str:
    """Have the archive itself, in a process of its own, answer for a batch and for a photo of scikit-image's."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(unpacked)
    command = [sys.executable, "-P", str(SAMPLE), str(unpacked)]
    skimage = importlib.util.find_spec("skimage")
    if skimage is not None and skimage.origin is not None:
        command.append(str(Path(skimage.origin).parent / "data" / "coffee.png"))
    try:
        done = subprocess.run(  # noqa: S603 - this file's own words
            command, cwd=unpacked, capture_output=True, text=True, check=False, timeout=SAMPLE_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the archive gave no prediction within {SAMPLE_SECONDS} s") from error
    if done.returncode:
        raise BuildError(f"the archive was built, but can't predict:\n{done.stderr[-SAID:]}")
    return done.stdout.strip()
