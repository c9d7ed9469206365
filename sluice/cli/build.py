"""`sluice models build`: an archive from a recipe, made by `trainer.archives` in a process of its own.

Networks need torch, which no other command and no other process of Sluice does.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from sluice.errors import ConfigurationError

EXAMPLES: Final = """\
Examples:

  sluice models build efficientnet-lite0
  sluice models build drugs.toml --output ./store
  sluice models build resnet18 --weights random:1"""
BUILDER: Final = "trainer.archives"
NEEDED: Final = ("trainer", "torch", "torchvision", "safetensors")


def build(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A .toml file, or a name of model_store/.")],
    output: Annotated[Path, typer.Option(help="The folder for the archive.")] = Path(),
    weights: Annotated[
        str, typer.Option(metavar="SOURCE", help="A path, a URL or random:SEED, instead of the recipe's weights.")
    ] = "",
    cache: Annotated[
        Path | None, typer.Option(metavar="DIRECTORY", help="Keep what is downloaded there, for the next time.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if the archive is up to date.")] = False,
) -> None:
    """Build a model archive (.mar) from a recipe, and try it.

    Needs PyTorch: a checkout has it, and so has the image of
    TorchServe; the image of producers and consumers has not.
    """
    check_installed(NEEDED)
    command = [sys.executable, "-m", BUILDER, recipe, "--output", str(output)]
    command += [*(["--weights", weights] if weights else []), *(["--cache", str(cache)] if cache else [])]
    # What it prints is the command's own output, and its exit code is the command's.
    done = subprocess.run([*command, *(["--force"] if force else [])], check=False)  # noqa: S603 - its own words
    if done.returncode:
        raise typer.Exit(done.returncode)


def check_installed(needed: Sequence[str]) -> None:
    """Refuse to build where what it takes isn't there: the image of producers and consumers."""
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"building a model needs {', '.join(missing)}, which isn't installed here: run it in a checkout after "
            f"scripts/setup, or `python3 -m {BUILDER} RECIPE.toml` in the image sluice-torchserve"
        )
