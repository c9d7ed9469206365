"""The rules of docs/architecture.md: which part may import which, and what may only be in one place."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from sluice import errors
from sluice.domain import Reason

ROOT: Final = Path(__file__).resolve().parents[2]
LINES_MAX: Final = 350
PROCESSES: Final = ("sluice", "producer", "consumer", "gateway", "trainer", "handlers")
TOPS: Final = (*PROCESSES, "migrations", "docker", "scripts", "tools", "tests")

FLOORS: Final = (
    {"errors"},
    {"domain", "backoff", "bounds", "capacity", "lines", "starting"},
    {"settings"},
    {"images", "protocol", "telemetry", "objects"},
    {"drift"},
    {"ledger", "process"},
    {"inference", "exports", "store"},
    {"cli"},
)
"""The parts of `sluice`, from the lowest floor up: each imports only parts on lower floors."""
NEVER: Final = {("ledger", "telemetry"), ("inference", "ledger")}
"""Lower, but still forbidden: the ledger reports to an observer, and `inference` needs no SQL."""
MAY_IMPORT: Final = {
    "producer": ("producer", "sluice"),
    "consumer": ("consumer", "sluice"),
    "gateway": ("gateway", "sluice"),
    "trainer": ("trainer", "sluice", "handlers"),
    "handlers": ("handlers", "sluice.images"),
    "handlers.agent": ("handlers.agent", "sluice"),
    "migrations": ("migrations", "sluice"),
}
SQL_DRIVERS: Final = {"pymysql", "sqlalchemy", "alembic"}
ENVIRONMENT: Final = {
    "sluice/settings.py": "the settings",
    "docker/torchserve/serve.py": "becomes TorchServe, whose environment it makes; that image has no settings",
    "tools/cache.py": "the one cache folder of all tools",
    "tools/bench/run.py": "reads the bucket in its own process",
    "tools/stack/server.py": "hands its own on to the servers, cleaned",
    "tools/stack/database.py": "looks for the server's program on PATH",
    "tools/stack/torchserve.py": "puts TorchServe's program on PATH",
    "tools/cluster/builder.py": "hands its own on to programs",
    "tools/cluster/image.py": "hands its own on to programs",
    "tools/cluster/node.py": "hands its own on to programs",
    "tools/cluster/pieces.py": "hands its own on to programs",
    "tools/compose/engine.py": "hands its own on to docker, cleaned",
}
"""Modules that read or pass on environment variables, and why; besides tests."""
CONSTANTS_PATCHED: Final = {
    "BLOCK", "LEAST_ROOM", "MANAGEMENT_PORT", "PAGE", "SLEEP_TIME", "SLICE", "STRIDE", "TEMPLATE", "WORK",
}  # fmt: skip
"""Page sizes of SQL, files that programs in TorchServe's container read, and botocore's own."""
ERRORS_ELSEWHERE: Final = {
    "ObjectChanged": "carries a ListedObject, and sluice.errors imports nothing",
    "StopRequested": "is no error: how the producer's task group is told to end",
}


@cache
def modules() -> dict[str, Path]:
    """Return every Python file by its module's name."""
    files = [path for top in TOPS for path in (ROOT / top).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


@cache
def nodes(name: str) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's tree."""
    return tuple(ast.walk(ast.parse(modules()[name].read_text())))


@cache
def imported(name: str) -> frozenset[str]:
    """Return the imports of a module, also in functions and for type checkers; this project's as modules."""
    found = set()
    for node in nodes(name):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{each.name}" for each in node.names}
            found |= {each if each in modules() else node.module for each in whole}
    return frozenset(found - {name})


def of_processes() -> list[str]:
    return [name for name in modules() if name.partition(".")[0] in PROCESSES]


def part(name: str) -> str:
    """Return the part of sluice that a module belongs to; empty for other modules, and for sluice itself."""
    top, _, rest = name.partition(".")
    return rest.partition(".")[0] if top == "sluice" else ""


def whose(name: str) -> str:
    """Return what a module runs in: of `MAY_IMPORT`, the longest name that is the module's or a folder's above it."""
    return max((top for top in MAY_IMPORT if name == top or name.startswith(f"{top}.")), key=len, default="")


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for name in modules():
        yield from ((name, node) for node in nodes(name) if isinstance(node, ast.ClassDef))


def test_each_part_of_sluice_imports_only_floors_below() -> None:
    floor = {each: number for number, each_floor in enumerate(FLOORS) for each in each_floor}
    wrong = []
    for name in modules():
        here = part(name)
        if not here or name == "sluice.__main__":
            continue
        assert here in floor, f"sluice/{here} is new: say on which floor of docs/architecture.md it stands"
        for other in imported(name):
            there = part(other)
            if other.partition(".")[0] in {*TOPS} - {"sluice"} or (
                there and there != here and (floor[there] >= floor[here] or (here, there) in NEVER)
            ):
                wrong.append((name, other))
    assert wrong == []


@pytest.mark.parametrize("top", MAY_IMPORT)
def test_what_runs_imports_only_what_it_may(top: str) -> None:
    ours = [(name, other) for name in modules() if whose(name) == top for other in imported(name)]
    assert [
        (name, other)
        for name, other in ours
        if other.partition(".")[0] in TOPS
        and not any(other == allowed or other.startswith(f"{allowed}.") for allowed in MAY_IMPORT[top])
    ] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {name: imported(name) & modules().keys() for name in modules()}
    # Repeatedly remove modules that import none of the rest: what remains is a circle, or imports one.
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert {name: sorted(others & left.keys()) for name, others in left.items()} == {}


def test_sql_stands_only_in_the_ledger_and_the_migrations() -> None:
    elsewhere = [name for name in of_processes() if part(name) != "ledger"]
    drivers = [
        (name, found) for name in elsewhere for found in imported(name) if found.partition(".")[0] in SQL_DRIVERS
    ]
    statements = [
        (name, node.lineno)
        for name in elsewhere
        for node in nodes(name)
        if isinstance(node, ast.Attribute) and node.attr in {"execute", "executemany"}
    ]
    assert (drivers, statements) == ([], [])


def test_environment_variables_are_read_only_in_the_settings() -> None:
    found = {
        str(modules()[name].relative_to(ROOT))
        for name in modules()
        if not name.startswith("tests.")
        for node in nodes(name)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}
    }
    assert found == ENVIRONMENT.keys()


def test_class_names_are_unique_in_the_project() -> None:
    # A request handler is defined in the function that serves it, and http.server names its methods.
    counts = Counter(node.name for _, node in classes() if node.name != "Handler")
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_file_is_too_long_to_be_read() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > LINES_MAX} == {}


def test_tests_pass_other_bounds_instead_of_patching_constants() -> None:
    calls = [call for name in modules() for call in nodes(name) if isinstance(call, ast.Call)]
    targets = [call.args[-2] for call in calls if ast.unparse(call.func) == "monkeypatch.setattr"]
    names = {str(target.value).rpartition(".")[2] for target in targets if isinstance(target, ast.Constant)}
    assert {name for name in names if name.isupper()} == CONSTANTS_PATCHED


def test_no_reason_is_written_as_a_bare_string() -> None:
    codes = {reason.value for reason in Reason}
    quoted = {f"'{code}'" for code in codes}  # as SQL would write it
    found = [
        (name, node.lineno, node.value)
        for name in of_processes()
        if part(name) != "domain" and not name.startswith("handlers")
        for node in nodes(name)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value in codes or any(each in node.value for each in quoted)
    ]
    assert found == []


def own_errors() -> dict[str, tuple[str, ast.ClassDef]]:
    """Return the exceptions that the processes define, with their modules."""
    ours = {node.name: (name, node) for name, node in classes() if name.partition(".")[0] in PROCESSES}
    known = {
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    found: dict[str, tuple[str, ast.ClassDef]] = {}
    while more := {
        name: place
        for name, place in ours.items()
        if name not in found
        and any(isinstance(base, ast.Name) and base.id in {*known, *found} for base in place[1].bases)
    }:
        found |= more
    return found


def test_sluice_errors_holds_every_error() -> None:
    assert {name for name, (module, _) in own_errors().items() if module != "sluice.errors"} == ERRORS_ELSEWHERE.keys()


def test_sluice_errors_names_every_error() -> None:
    drawn = {word for line in (errors.__doc__ or "").splitlines() for word in line.split()}
    assert [name for name in own_errors() if name not in drawn and name != "StopRequested"] == []


def test_each_error_says_when_it_is_raised() -> None:
    told = {name: ast.get_docstring(node) or "" for name, (_, node) in own_errors().items()}
    assert [name for name, text in told.items() if not text.startswith("Raised when")] == []


def test_names_of_test_files_are_unique() -> None:
    """Files are imported by name alone, so a run can't collect two with the same name."""
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_file_of_tests_hides_a_package() -> None:
    """The folder of a collected test is the first place where it, and what it starts, finds a module."""
    found = [path for top in TOPS for path in (ROOT / "tests").glob(f"*/{top}.py")]
    assert found == []
