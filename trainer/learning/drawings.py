"""Pictures of how a training went, as SVG. A plotting library would be larger than all the rest."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.learning.measuring import MATRIX_MAX, Measures

SIDE: Final = 320
LEFT, TOP, RIGHT, BOTTOM = 56, 28, 16, 44
INK, FAINT, FIRST, SECOND = "#1b1f24", "#d0d7de", "#0969da", "#bc4c00"
SHOWN: Final = 18
"""Characters of a label."""
THUMB: Final = 96
ACROSS: Final = 6
LEAST_LIGHT: Final = 0.5
Points = Sequence[tuple[float, float]]
Marks = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture of the test that the model got wrong."""

    pixels: NDArray[np.uint8]
    shows: str
    said: str
    score: float


def learning_curve(points: Points) -> bytes:
    """Draw the accuracy by how many pictures were learned from: if it still climbs, more of them help."""
    most = max(count for count, _ in points)
    scaled = [(count / most, accuracy) for count, accuracy in points]
    marks = [(0.0, "0"), (0.5, f"{most / 2:,.0f}"), (1.0, f"{most:,.0f}")]
    drawn = _line(scaled, FIRST) + "".join(_dot(point, FIRST) for point in scaled)
    return _chart("Accuracy by pictures learned from", "pictures", marks, _levels(1.0), drawn)


def epochs(history: Points) -> bytes:
    """Draw the losses of fine-tuning by epoch."""
    most = max(1e-9, *(max(pair) for pair in history))
    last = max(1, len(history) - 1)
    drawn = ""
    for which, (name, colour) in enumerate((("learned from", FIRST), ("checked with", SECOND))):
        drawn += _line([(number / last, pair[which] / most) for number, pair in enumerate(history)], colour)
        drawn += _text(LEFT + 150, TOP + 16 + 16 * which, name, colour)
    return _chart("Loss by epoch", "epoch", [(0.0, "1"), (1.0, str(len(history)))], _levels(most), drawn)


def reliability_chart(measures: Measures) -> bytes:
    """Draw which share of answers is right, by their score: on the diagonal, scores mean what they say."""
    drawn = _line([(0, 0), (1, 1)], FAINT)
    for which, (name, colour, bins) in enumerate(
        (("before", SECOND, measures.bins_before), ("after", FIRST, measures.bins_after))
    ):
        points = [(score, share) for score, share, _ in bins]
        drawn += _line(points, colour) + "".join(_dot(point, colour) for point in points)
        drawn += _text(LEFT + 12, TOP + 16 + 16 * which, name, colour)
    return _chart("Share that is right, by score", "score", _levels(1.0), _levels(1.0), drawn)


def confusion_chart(measures: Measures) -> bytes:
    """Draw the confusion matrix: rows are what pictures show, columns what the model says."""
    labels = measures.labels[:MATRIX_MAX]
    count = len(labels)
    cell = max(14, min(40, 480 // count))
    left, top = 150, 150
    size = left + count * cell + RIGHT, top + count * cell + RIGHT
    drawn = [_text(8, 18, "Rows: what pictures show. Columns: what the model says.", INK)]
    for row in range(count):
        whole = max(1, int(measures.confusion[row].sum()))
        drawn.append(_text(left - 6, top + row * cell + cell * 0.65, _short(labels[row]), INK, "end"))
        x = left + row * cell + cell * 0.65
        drawn.append(
            f'<text x="{x:.0f}" y="{top - 6}" fill="{INK}" transform="rotate(-60 {x:.0f} {top - 6})">'
            f"{escape(_short(labels[row]))}</text>"
        )
        for column in range(count):
            number = int(measures.confusion[row, column])
            share = number / whole
            colour = FIRST if row == column else SECOND
            drawn.append(
                f'<rect x="{left + column * cell}" y="{top + row * cell}" width="{cell}" height="{cell}" '
                f'fill="{colour}" fill-opacity="{share:.2f}" stroke="{FAINT}"/>'
            )
            if number:
                ink = "#ffffff" if share > LEAST_LIGHT else INK
                place = left + (column + 0.5) * cell, top + row * cell + cell * 0.65
                drawn.append(_text(*place, str(number), ink, "middle"))
    return _whole(size, "Confusion matrix", "".join(drawn))


def mistakes_sheet(mistakes: Sequence[Mistake]) -> bytes:
    """Draw the pictures that the model is most sure of and wrong about."""
    step = THUMB + 44
    rows = -(-len(mistakes) // ACROSS)
    drawn = [] if mistakes else [_text(8, 40, "None: every picture of the test got its label.", INK)]
    for number, each in enumerate(mistakes):
        x, y = 8 + (number % ACROSS) * (THUMB + 24), 28 + (number // ACROSS) * step
        drawn.append(f'<image x="{x}" y="{y}" width="{THUMB}" height="{THUMB}" href="{_embedded(each.pixels)}"/>')
        drawn.append(_text(x, y + THUMB + 13, f"shows {_short(each.shows)}", INK))
        drawn.append(_text(x, y + THUMB + 27, f"{_short(each.said)} {each.score:.2f}", SECOND))
    title = _text(8, 18, "Wrong, and most sure of it", INK)
    return _whole((ACROSS * (THUMB + 24) + 8, 36 + max(1, rows) * step), "Worst mistakes", title + "".join(drawn))


def _chart(title: str, along: str, marks: Marks, levels: Marks, drawn: str) -> bytes:
    width, height = LEFT + SIDE + RIGHT, TOP + SIDE + BOTTOM
    parts = [_text(LEFT, 18, title, INK), _text(LEFT + SIDE / 2, height - 8, along, INK, "middle")]
    for place, name in levels:
        _, y = _at((0, place))
        parts.append(f'<path d="M{LEFT} {y:.1f}h{SIDE}" stroke="{FAINT}"/>' + _text(LEFT - 6, y + 4, name, INK, "end"))
    for place, name in marks:
        x, _ = _at((place, 0))
        parts.append(_text(x, TOP + SIDE + 16, name, INK, "middle"))
    return _whole((width, height), title, "".join(parts) + drawn)


def _whole(size: tuple[int, int], title: str, drawn: str) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{drawn}</svg>'
    ).encode()


def _at(point: tuple[float, float]) -> tuple[float, float]:
    return LEFT + point[0] * SIDE, TOP + (1 - point[1]) * SIDE


def _line(points: Points, colour: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_at, points))
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _dot(point: tuple[float, float], colour: str) -> str:
    x, y = _at(point)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def _levels(most: float) -> list[tuple[float, str]]:
    return [(part / 4, f"{most * part / 4:.2g}") for part in range(5)]


def _short(label: str) -> str:
    return label if len(label) <= SHOWN else f"{label[: SHOWN - 1]}…"


def _embedded(pixels: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
