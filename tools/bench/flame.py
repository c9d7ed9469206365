"""Draws what py-spy saw of a process: each function as wide as its share of the samples, below the one that called it.

py-spy takes threads that wait for work to be at work where it can't see their system calls, so those are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 1200
ROW: Final = 18
LETTER: Final = 6.7
"""Width of a letter of FONT, in the same unit."""
FONT: Final = "11px ui-monospace, monospace"
LEAST: Final = 0.003
"""Smaller shares aren't drawn."""
OURS: Final = re.compile(r"\((?:sluice|producer|consumer|handlers)/")
PLUMBING: Final = re.compile(r"\((?:threading\.py|concurrent/futures/|asyncio/|<frozen runpy>|socketserver\.py)")
"""Calls that are the same in each stack, and say nothing."""
WAITING: Final = re.compile(
    r"^_worker \(concurrent/futures/thread\.py|\bselect \(selectors\.py|\bwait \(threading\.py|"
    r"^SocketIO\.readinto \(socket\.py"
)
"""Where a thread stands that waits for work, or for an answer."""
LINE: Final = re.compile(r":\d+\)$")
COLOURS: Final = {True: "#f4a261", False: "#a8c5da"}


@dataclass(slots=True)
class SampledCall:
    """A function as called from one place, with those that it called."""

    name: str
    samples: int = 0
    calls: dict[str, SampledCall] = field(default_factory=dict)


def read_stacks(text: str) -> SampledCall:
    """Return the calls of py-spy's raw output, which has a line for each stack: `outer;inner 12`."""
    root = SampledCall("all that the process computed")
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if WAITING.search(frames[-1]):
            continue
        root.samples += int(count)
        at = root
        for frame in frames:
            if PLUMBING.search(frame):
                continue
            name = LINE.sub(")", frame)
            at = at.calls.setdefault(name, SampledCall(name))
            at.samples += int(count)
    return root


def draw(root: SampledCall, title: str) -> str:
    """Return an SVG; a browser tells each function's whole name and share under the pointer."""
    boxes = list(_boxes(root, root.samples or 1, 0.0, 0))
    height = (max(row for _, row, _, _ in boxes) + 2) * ROW + 4
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="font: {FONT}">',
        f'<text x="2" y="13" fill="#808080">{escape(title)}</text>',
    ]
    for call, row, left, share in boxes:
        letters = int((share * WIDTH - 4) / LETTER)
        shown = call.name if len(call.name) <= letters else call.name.partition(" (")[0][: max(0, letters)]
        lines.append(
            f"<g><title>{escape(call.name)}: {share:.1%}</title>"
            f'<rect x="{left * WIDTH:.1f}" y="{(row + 1) * ROW}" width="{max(0.5, share * WIDTH - 0.5):.1f}" '
            f'height="{ROW - 1}" rx="2" fill="{COLOURS[bool(OURS.search(call.name))]}"/>'
            + (
                f'<text x="{left * WIDTH + 2:.1f}" y="{(row + 1) * ROW + 12}" fill="#202020">{escape(shown)}</text>'
                if letters > 2  # noqa: PLR2004 - fewer say nothing
                else ""
            )
            + "</g>"
        )
    return "\n".join([*lines, "</svg>\n"])


def _boxes(call: SampledCall, total: int, left: float, row: int) -> Iterator[tuple[SampledCall, int, float, float]]:
    """Yield a call and all below it that are large enough, each with its row, its left edge and its share."""
    yield call, row, left, call.samples / total
    for each in sorted(call.calls.values(), key=lambda found: -found.samples):
        if each.samples < LEAST * total:
            return
        yield from _boxes(each, total, left, row + 1)
        left += each.samples / total
