"""The documents agree with the code."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from sluice.domain import Reason
from tests.support.command_line import mentions, understands
from tools.cache import cache_folder

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("production", "runbook", "upgrades")]

ALLOWED = {
    "list_objects_v2": "s3:ListBucket",
    "head_bucket": "s3:ListBucket",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "receive_message": "sqs:ReceiveMessage",
    "delete_message_batch": "sqs:DeleteMessage",
    "download_fileobj": "s3:GetObject",
    "upload_fileobj": "s3:PutObject",
    "delete_object": "s3:DeleteObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
}
"""The permission that each call to AWS needs, as AWS documents it."""


def blocks(document: Path, language: str) -> list[str]:
    """Return a document's blocks in one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", document.read_text(), re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def top_folders() -> set[str]:
    """Return the top-level folders of the repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name.split("/")[0] for name in listed.splitlines() if "/" in name}


def test_operations_explains_each_reason_in_the_codes_own_words() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = [f"| `{reason}` | {reason.description} | {reason.remedy} |" for reason in Reason]
    assert [row for row in rows if row not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_to_a_file_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_to_a_heading_leads_to_one(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text())
    assert [
        (file, anchor) for file, anchor in links if anchor not in anchors(document.parent / file if file else document)
    ] == []


def test_each_alert_has_its_heading_in_the_runbook() -> None:
    template = (ROOT / "charts" / "sluice" / "templates" / "_alerts.tpl").read_text()
    alerts = re.findall(r'include "sluice.alert" \(list \. "(\w+)" "(\w+)" "(\w+)"', template)
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [name for name, _, _ in alerts]
    for name, after, severity in alerts:
        when = "at once" if after == "0m" else f"after {after.removesuffix('m')} minutes"
        assert f"## {name}\n\n{severity.capitalize()}, {when}. " in text


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.name)
def test_the_guides_name_commands_that_sluice_has(document: Path) -> None:
    text = "\n".join(blocks(document, "sh"))
    told = re.findall(r"^ *(?:kubectl .* -- )?(sluice (?:[^\n\"]|\"[^\"]*\")*)", text, re.MULTILINE)
    assert told
    for line in told:
        understands(shlex.split(line, comments=True))
    for words in re.findall(r"`(sluice [a-z][^`]*)`", document.read_text()):
        mentions(shlex.split(words))


def test_the_example_of_a_policy_allows_what_the_code_calls_and_no_more() -> None:
    sources = [ROOT / "sluice" / "objects" / f"{name}.py" for name in ("s3", "clients", "notifications", "files")]
    sources.append(ROOT / "gateway" / "uploads" / "bucket.py")
    called = {name for source in sources for name in re.findall(r"_?client(?:\(\))?\.(\w+)\(", source.read_text())}
    called -= {"close"}
    policy = json.loads((ROOT / "docs" / "examples" / "iam-policy.json").read_text())
    actions = [statement["Action"] for statement in policy["Statement"]]
    assert {ALLOWED[name] for name in called} == {
        each for action in actions for each in (action if isinstance(action, list) else [action])
    }


def test_scripts_and_tools_keep_what_is_slow_to_make_in_the_same_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("SLUICE_CACHE", ""),
        ("XDG_CACHE_HOME", ""),
        ("SLUICE_CACHE", "/one"),
        ("XDG_CACHE_HOME", "/two"),
    ):
        monkeypatch.delenv("SLUICE_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv(name, value)
        shell = ["bash", "-c", 'source scripts/paths.sh && printf %s "$cache"']
        said = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert said == str(cache_folder())


def test_the_architecture_names_each_top_folder_and_no_other() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| folder |") : text.index("The floors of")]
    named = {
        name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+/)`", row.split("|")[1] if row else "")
    }
    assert named == {f"{folder}/" for folder in top_folders()}


def test_the_architecture_draws_each_top_folder_but_the_documents() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = text.partition("## Where things live\n\n```mermaid\n")[2].partition("```")[0]
    assert {name for name in top_folders() if not re.search(rf"(?<![\w/]){re.escape(name)}\b", drawn)} == {"docs"}


def test_the_architecture_names_each_command_of_scripts() -> None:
    (row,) = re.findall(r"^\| `scripts/` \| (.*)$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    commands = {path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix}
    assert set(re.findall(r"`([\w-]+)`", row)) == commands - {"sluice-command"}


def test_the_architecture_names_each_process_of_the_chart() -> None:
    templates = ROOT / "charts" / "sluice" / "templates"
    kinds = re.compile(r"^kind: (Deployment|StatefulSet|Job|Pod)$", re.MULTILINE)
    parts = {path.parent.name for path in templates.glob("*/*.yaml") if kinds.search(path.read_text())}
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| ([a-z0-9, ]+) \|", text[text.index("## What runs") : text.index("## How an image flows")], re.MULTILINE
    )
    assert {name for row in rows[1:] for name in row.split(", ")} == parts


def test_contributing_names_what_is_there() -> None:
    """`file:symbol` is defined in that file, so a renaming can't make the page lie."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`([\w./-]+\.\w+):([\w.]+)`", text)
    assert len(named) > 10
    for file, symbol in named:
        tree: ast.AST = ast.parse((ROOT / file).read_text())
        for part in symbol.split("."):
            found = [node for node in ast.iter_child_nodes(tree) if part in names_of(node)]
            assert found, f"{file} has no {symbol}"
            tree = found[0]
    paths = re.findall(
        r"`((?:sluice|producer|consumer|handlers|tests|tools|charts|migrations|scripts)/[\w./-]+)`", text
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []


def names_of(node: ast.AST) -> set[str]:
    """Return what a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}
