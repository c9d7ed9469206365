"""A recipe: the TOML file that says what an archive is made of. docs/models.md has all that it may say."""

from __future__ import annotations

import datetime as dt
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sluice.domain.running import FP32, INT8, OPENVINO, PRECISIONS, RUNTIMES, TORCH
from sluice.errors import BuildError
from trainer.archives.labels import IMAGENET_CLASSES, read_labels

ROOT: Final = Path(__file__).resolve().parents[2]
STORE: Final = ROOT / "model_store"
SHA256: Final = re.compile("[0-9a-f]{64}")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
RECIPE_VERSION: Final = re.compile(r"[0-9.]{1,16}")
ARCHITECTURE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
METRIC: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,63}")
PARTS: Final = frozenset(
    {"name", "version", "architecture", "runtime", "precision", "labels"}
    | {"weights", "preprocessing", "calibration", "card"}
)
RECIPE_MAX_BYTES: Final = 8 * 1024 * 1024
SIDE_MAX: Final = 4096
METRICS_MAX: Final = 200
TEXTS: Final = {"description": 2000, "licence": 200, "made_by": 200}
"""What a card may say in words, with how many characters."""
EXPORT: Final = "export"
NOOP: Final = "noop"


@dataclass(frozen=True)
class Calibration:
    """On which pictures a network is measured that computes in fewer bits, and how often it must agree with fp32."""

    pictures: str
    agreement: float = 0.95
    """Share of all pictures with the same best class."""
    agreement_sure: float = 0.99
    """The same of pictures that fp32 is fairly sure of."""


@dataclass(frozen=True)
class Recipe:
    """A recipe, checked as far as it can be without its weights."""

    name: str
    version: str
    architecture: str
    labels: tuple[str, ...] | None
    """None: ImageNet's."""
    weights: str
    sha256: str
    preprocessing: dict[str, Any]
    card: dict[str, Any]
    base: Path
    """Where relative paths begin."""
    runtime: str = ""
    """Empty: the fastest that answers as torch does."""
    precision: str = FP32
    calibration: Calibration | None = None

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return IMAGENET_CLASSES if self.labels is None else len(self.labels)


def read_recipe(which: str, weights: str | None) -> Recipe:
    """Read a recipe by its name in model_store/ or its path; `weights` takes the place of its own."""
    path = Path(which) if which.endswith(".toml") else STORE / f"{which}.toml"
    if not path.is_file():
        known = ", ".join(sorted(recipe.stem for recipe in STORE.glob("*.toml")))
        raise BuildError(f"no recipe {which!r}: use one of {known}, or the path of a .toml file")
    if path.stat().st_size > RECIPE_MAX_BYTES:
        raise BuildError(f"{path} is larger than {RECIPE_MAX_BYTES} bytes: put the labels into a file of their own")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BuildError(f"{path} is not TOML: {error}") from error
    try:
        recipe = _recipe(table, path.parent)
    except BuildError as error:
        raise BuildError(f"{path}: {error}") from error
    except KeyError as error:
        raise BuildError(f"{path} lacks {error}: compare it with model_store/efficientnet-lite0.toml") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise BuildError(f"{path}: {error}") from error
    if weights is not None:
        recipe = replace(recipe, weights=weights, base=Path())
    try:
        return _with_sound_weights(recipe)
    except BuildError as error:
        raise BuildError(f"{path}: {error}") from error


def _recipe(table: Mapping[str, Any], base: Path) -> Recipe:
    from sluice.images import VERSION, Preprocessing  # noqa: PLC0415 - --help needs no numpy

    unknown = table.keys() - PARTS
    if unknown:
        raise BuildError(f"{', '.join(sorted(unknown))}: expected only {', '.join(sorted(PARTS))}")
    weights, preprocessing = _table(table, "weights"), _table(table, "preprocessing")
    unknown = weights.keys() - {"from", "sha256"}
    if unknown:
        raise BuildError(f"weights: {', '.join(sorted(unknown))}: expected only from and sha256")
    sizes = [preprocessing.get(side, 0) for side in ("resize", "crop")]
    levels = [*preprocessing["mean"], *preprocessing["std"]]
    if not all(type(side) is int and side <= SIDE_MAX for side in sizes):
        raise BuildError(f"preprocessing: resize and crop are whole numbers up to {SIDE_MAX}")
    if not all(type(level) in {int, float} and math.isfinite(level) for level in levels):
        raise BuildError("preprocessing: mean and std are three numbers each")
    return Recipe(
        name=_text(table, "name"),
        version=_text(table, "version"),
        architecture=_text(table, "architecture"),
        labels=read_labels(table["labels"], base),
        weights=_text(weights, "from"),
        sha256=_text({"sha256": "", **weights}, "sha256").lower(),
        preprocessing=Preprocessing.from_dict({**preprocessing, "version": VERSION}).to_dict(),
        card=_card(_table(table, "card")) if "card" in table else {},
        base=base,
        calibration=_calibration(_table(table, "calibration")) if "calibration" in table else None,
        **_running(table),
    )


def _running(table: Mapping[str, Any]) -> dict[str, str]:
    """Return how the network is to be run."""
    runtime, precision = (_text({"runtime": "", "precision": FP32, **table}, each) for each in ("runtime", "precision"))
    if runtime not in {"", *RUNTIMES}:
        raise BuildError(f"runtime is {runtime!r:.100}: expected {' or '.join(RUNTIMES)}, or leave it out")
    if precision not in PRECISIONS:
        raise BuildError(f"precision is {precision!r:.100}: expected {', '.join(PRECISIONS)}, or leave it out")
    if precision != FP32 and runtime not in {"", OPENVINO}:
        raise BuildError(f'precision {precision} needs runtime = "{OPENVINO}", torch runs on a CPU in {FP32}')
    return {"runtime": runtime, "precision": precision}


def _calibration(told: Mapping[str, Any]) -> Calibration:
    """Return what a network in fewer bits is measured with."""
    known = set(Calibration.__dataclass_fields__)
    if set(told) - known or "pictures" not in told:
        raise BuildError(f"calibration: expected pictures, and only {', '.join(sorted(known))}")
    pictures = _text(told, "pictures")
    for name in known - {"pictures"}:
        if name in told and not (type(told[name]) in {int, float} and 0 <= told[name] <= 1):
            raise BuildError(f"calibration: {name} is {told[name]!r:.100}: expected a share from 0 to 1")
    return Calibration(pictures, **{name: float(value) for name, value in told.items() if name != "pictures"})


def _with_sound_weights(recipe: Recipe) -> Recipe:
    if not NAME.fullmatch(recipe.name) or not RECIPE_VERSION.fullmatch(recipe.version):
        raise BuildError("name is small letters, digits, '.' and '-'; version is digits and dots, in quotation marks")
    if not ARCHITECTURE.fullmatch(recipe.architecture):
        raise BuildError(
            f"architecture is {recipe.architecture!r:.100}: expected noop, efficientnet-lite0, a classifier of "
            f"torchvision's (resnet18, say), or export for a file of torch.export"
        )
    if recipe.sha256 and not SHA256.fullmatch(recipe.sha256):
        raise BuildError(
            f"sha256 is {recipe.sha256!r:.100}: expected all 64 digits of the weights' sum, as sha256sum prints them"
        )
    if recipe.weights.startswith("random:"):
        seed = recipe.weights.removeprefix("random:")
        if not (seed.isascii() and seed.isdigit() and len(seed) < 10) or recipe.architecture == EXPORT:  # noqa: PLR2004
            raise BuildError(
                f"weights {recipe.weights!r:.100}: expected random: and a number, as random:1; a program has its own"
            )
        # By another name too: it must never stand where the real one is looked for.
        return replace(recipe, name=f"{recipe.name}-random", version=f"{recipe.version}-random", sha256="")
    if recipe.precision == INT8 and recipe.calibration is None:
        raise BuildError(
            'precision int8 needs pictures like those that the model will meet: [calibration] pictures = "FOLDER", or '
            "s3://…, 1,300 or more"
        )
    if recipe.precision == FP32 and recipe.calibration is not None:
        raise BuildError("calibration is for precision bf16 or int8: leave it out, or say which")
    if recipe.architecture == NOOP and (recipe.runtime, recipe.precision) not in {("", FP32), (TORCH, FP32)}:
        raise BuildError("noop has no network to run: leave out runtime and precision")
    if (recipe.weights == "none") != (recipe.architecture == NOOP):
        raise BuildError('weights: noop has none (from = "none"), every other network needs some')
    return recipe


def _table(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = table[name]
    if not isinstance(found, dict):
        raise BuildError(f"{name} is {found!r:.100}: expected a table, [{name}]")
    return found


def _text(table: Mapping[str, Any], name: str) -> str:
    found = table[name]
    if not isinstance(found, str):
        raise BuildError(f"{name} is {found!r:.100}: expected a text, in quotation marks")
    return found


def _card(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a recipe adds to the card: words, when it was made, on which data, and how well it did."""
    known = {*TEXTS, "made", "data_digest", "metrics"}
    unknown = told.keys() - known
    if unknown:
        raise BuildError(f"card: {', '.join(sorted(unknown))}: expected only {', '.join(sorted(known))}")
    card: dict[str, Any] = {}
    for name, most in TEXTS.items():
        if name in told:
            card[name] = _text(told, name).strip()
            if len(card[name]) > most:
                raise BuildError(f"card: {name} has {len(card[name])} characters: {most} are kept")
    if "made" in told:
        if not isinstance(told["made"], dt.date):  # a date with a time is one too
            raise BuildError(
                f"card: made is {told['made']!r:.100}: expected a date, as 2026-11-27, without quotation marks"
            )
        card["made"] = told["made"].isoformat()
    if "data_digest" in told:
        card["data_digest"] = _text(told, "data_digest").lower()
        if not SHA256.fullmatch(card["data_digest"]):
            raise BuildError("card: data_digest is the SHA-256 of what the network was trained on: 64 digits")
    if "metrics" in told:
        card["metrics"] = _metrics(_table(told, "metrics"))
    return card


def _metrics(told: Mapping[str, Any]) -> dict[str, float]:
    if len(told) > METRICS_MAX:
        raise BuildError(f"card: {len(told)} metrics: {METRICS_MAX} are kept")
    for name, value in told.items():
        if not METRIC.fullmatch(name) or type(value) not in {int, float} or not math.isfinite(value):
            raise BuildError(f"card: metrics: {name[:64]!r} = {value!r:.100}: expected a name and a number")
        if abs(value) > 2**53:
            raise BuildError(f"card: metrics: {name} is too large a number")
    return dict(told)
