"""Parses `sluice` commands that pods run or documents show, as `sluice` would; runs nothing."""

from __future__ import annotations

from typing import Any

import typer

from sluice.cli.app import app


def find(words: list[str]) -> tuple[Any, str, list[str]]:
    """Return the command that the words begin with, its name and the remaining words."""
    command: Any = typer.main.get_command(app)
    name, *rest = words
    while hasattr(command, "commands"):
        name, *rest = rest
        command = command.commands[name]
    return command, name, rest


def understands(words: list[str]) -> None:
    """Parse a whole command."""
    command, name, rest = find(words)
    command.make_context(name, rest)


def mentions(words: list[str]) -> None:
    """Look up a command and the options named with it; arguments may be missing."""
    command, _, rest = find(words)
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in known]
    assert unknown == [], words
