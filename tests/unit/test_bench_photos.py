"""The table of `scripts/bench photos`, its ways, and the lock of their environment."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tools.bench.decoders.__main__ import LOCK, in_rounds, table
from tools.bench.decoders.roster import BASELINE, KINDS, OURS, WAYS, reads

ROOT = Path(__file__).parents[2]
SAME = ("cykooz-resizer", "numpy", "pillow")


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def test_other_decoders_are_locked_with_hashes_and_our_resizer() -> None:
    locked, ours = pins(LOCK), pins(ROOT / "requirements-all.txt")
    assert {name: locked[name] for name in SAME} == {name: ours[name] for name in SAME}
    lines = [line for line in LOCK.read_text().splitlines() if "==" in line]
    assert lines
    assert all(line.endswith("\\") for line in lines)
    assert "://" not in LOCK.read_text()


def test_the_roster_names_the_ways_that_there_are() -> None:
    """The ways themselves can't be imported here: their libraries are in an environment of their own."""
    tree = ast.parse((LOCK.parent / "ways.py").read_text())
    (ways,) = [node.value for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and node.target.id == "WAYS"]  # type: ignore[union-attr]
    assert isinstance(ways, ast.Dict)
    assert tuple(key.value for key in ways.keys if isinstance(key, ast.Constant)) == WAYS


def test_each_format_is_read_by_some_and_only_special_ones_read_heic() -> None:
    assert [way for way in WAYS if reads(way, "heic")] == ["pillow-heif"]
    assert [way for way in WAYS if reads(way, "png")] == [OURS, BASELINE, "libvips, thumbnail", "libvips", "cv2"]
    assert all(any(reads(way, kind) for way in WAYS) for kind in KINDS)


def test_the_table_and_the_rounds() -> None:
    found = {
        (BASELINE, "12.jpeg"): [{"ms": 200.0, "peak_mib": 90.0}] * 3,
        (OURS, "12.jpeg"): [{"ms": 100.0, "peak_mib": 50.0}] * 3,
        ("pillow-heif", "12.heic"): [{"ms": 700.0, "peak_mib": 91.0}] * 3,
    }
    lines = table(found, {(OURS, "12.jpeg"): (1.0, 0)}).splitlines()
    assert lines[1].split() == ["12.heic,", "pillow-heif", "700", "700", "to", "700", "-", "91", "-", "-"]
    assert lines[2].split() == ["12.jpeg,", "Sluice", "100", "100", "to", "100", "0.50", "50", "100.000%", "0"]
    measured = in_rounds(found, {}, "12.jpeg")
    assert measured.baseline == "Pillow, 12.jpeg"
    assert [each.name for each in measured.figures if each.unit == "MiB"][1] == "Sluice, 12.jpeg, peak"
