"""A picture of many photos, each with its predicted label and score."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageOps

THUMBNAIL: Final = (152, 114)
CELL: Final = (168, 162)
COLUMNS: Final = 16
MARGIN: Final = 24
TITLE: Final = 64
PAPER: Final = (250, 250, 247)
INK: Final = (28, 28, 30)
FAINT: Final = (130, 130, 128)
BAR: Final = 4
SURE: Final = (46, 125, 80)
UNSURE: Final = (196, 120, 40)
SURE_FROM: Final = 0.5


def write_contact_sheet(path: Path, title: str, entries: Sequence[tuple[bytes, str, float]]) -> None:
    """Write a PNG of (photo, label, score), in the order given."""
    rows = -(-len(entries) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[0] + 2 * MARGIN, rows * CELL[1] + 2 * MARGIN + TITLE), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN + 8, MARGIN), title, INK, ImageFont.load_default(30))
    for number, (photo, label, score) in enumerate(entries):
        row, column = divmod(number, COLUMNS)
        _draw_cell(sheet, draw, (MARGIN + column * CELL[0], MARGIN + TITLE + row * CELL[1]), photo, label, score)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")  # another demo may write the same sheet
    sheet.save(part, "PNG")
    part.rename(path)


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, at: tuple[int, int], photo: bytes, label: str, score: float
) -> None:
    left, top = at
    left += (CELL[0] - THUMBNAIL[0]) // 2
    with Image.open(io.BytesIO(photo)) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    thumbnail = ImageOps.contain(upright, THUMBNAIL, Image.Resampling.LANCZOS)
    sheet.paste(thumbnail, (left + (THUMBNAIL[0] - thumbnail.width) // 2, top + (THUMBNAIL[1] - thumbnail.height) // 2))
    colour = SURE if score >= SURE_FROM else UNSURE
    line = top + THUMBNAIL[1] + 5
    draw.rectangle((left, line, left + THUMBNAIL[0], line + BAR), (226, 226, 222))
    draw.rectangle((left, line, left + round(THUMBNAIL[0] * score), line + BAR), colour)
    font = ImageFont.load_default(15)
    percent = f"{score:.0%}"
    room = THUMBNAIL[0] - draw.textlength(percent, font) - 6
    draw.text((left, line + BAR + 4), _shortened(draw, label, font, room), INK, font)
    draw.text((left + THUMBNAIL[0], line + BAR + 4), percent, FAINT, font, anchor="ra")


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, room: float
) -> str:
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "…", font) > room:
        text = text[:-1]
    return text.rstrip() + "…"
