"""A recipe's network in int8, calibrated on photos of `tools.photos`: scripts/bench compares it with fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tools.cache import cache_folder
from tools.photos import photos
from trainer.archives.making import build
from trainer.archives.recipe import STORE, read_recipe

PHOTOS: Final = 1500
CALIBRATION: Final = """
[calibration]
pictures = "{folder}"
"""


def in_int8(model: str) -> Path:
    """Return the archive of a recipe in int8, within the default bounds."""
    folder = cache_folder() / "bench" / f"mixed-{PHOTOS}"
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.iterdir())) < PHOTOS:
        for name, data in photos(PHOTOS):
            (folder / name).write_bytes(data)
    text = (STORE / f"{model}.toml").read_text()
    text = text.replace(f'name = "{model}"', f'name = "{model}-int8"\nprecision = "int8"')
    recipe = folder.with_name(f"{model}-int8.toml")
    recipe.write_text(text + CALIBRATION.format(folder=folder))
    archive, card, _ = build(
        read_recipe(str(recipe), None), cache_folder() / "models", cache_folder() / "weights", force=False
    )
    for name, value in card["metrics"].items():
        print(f"{card['name']}: {name} {value:g}")
    return archive
