"""Processes that are told to stop while they still start."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

import pytest

RUN: Final = """
import importlib, os, sys, types

class Service(types.ModuleType):
    def __getattr__(self, name):
        os.kill(os.getpid(), NUMBER)

MODULE, NUMBER = sys.argv.pop(1), int(sys.argv.pop(1))
sys.modules[f"{MODULE}.service"] = Service(f"{MODULE}.service")
importlib.import_module(f"{MODULE}.__main__").main()
"""
"""Is sent a signal as soon as it imports its service."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["producer", "consumer", "gateway", "trainer", "handlers.agent"])
def test_a_stop_while_a_process_starts_is_no_failure(module: str, number: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN, module, str(int(number))], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
