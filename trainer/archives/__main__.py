"""Builds a model archive from a recipe: `python -m trainer.archives`, scripts/build-model and `sluice models build`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from sluice.errors import BuildError
from trainer.archives.making import build
from trainer.archives.recipe import read_recipe

EXAMPLES: Final = """\
examples:
  scripts/build-model                                   the offline default, EfficientNet-Lite0
  scripts/build-model resnet18                          weights from the recipe's source
  scripts/build-model resnet18 --weights ./resnet18-f37072fd.pth
  scripts/build-model resnet18 --weights random:1       for measuring, not for predicting
  scripts/build-model noop --output ./store
  scripts/build-model ./my-model.toml                   docs/models.md says what a recipe may say
"""


def main() -> int:
    """Read the command line, build, and print what was built."""
    parser = argparse.ArgumentParser(
        prog="scripts/build-model",
        description="Build a model archive (.mar) for TorchServe from a recipe.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", default="efficientnet-lite0", help="name in model_store/, or a .toml file")
    parser.add_argument("--weights", metavar="PATH|URL|random:SEED", help="instead of the recipe's; its sha256 holds")
    parser.add_argument("--output", type=Path, default=Path(), help="folder (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="folder that keeps what is downloaded (default: nothing is kept)")
    parser.add_argument("--force", action="store_true", help="build even if the archive is up to date")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-weights-") as scratch:
            recipe = read_recipe(arguments.recipe, arguments.weights)
            archive, card, new = build(
                recipe, arguments.output, arguments.cache or Path(scratch), force=arguments.force
            )
    except (BuildError, OSError) as error:
        print(f"build-model: {error}", file=sys.stderr)
        return 2
    print(f"model    {card['name']}@{card['version']}{'' if new else ' (up to date)'}")
    print(f"digest   {card['digest']}")
    print(f"archive  {archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
