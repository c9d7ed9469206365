"""The loop from labelled pictures to a better model and back closes on real servers, as `scripts/loop` tells it."""

from __future__ import annotations

import pytest

from tools.loop.__main__ import go_around
from tools.loop.pictures import some_digits
from tools.stack import Servers, TorchServe, archive_of
from tools.stack.torchserve import WITH_AGENT


def test_the_loop_closes(servers: Servers, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each step checks what it did; here it is seen that none is left out."""
    servers.start(servers.database, servers.s3)
    noop = [archive_of("noop")]
    torchserve = TorchServe(servers.folder, servers.leash, noop, name=f"served-{bucket}", options=WITH_AGENT)
    try:
        torchserve.start()
        torchserve.wait_ready()
        go_around(some_digits(classes=3, labelled=6, new=34, more=20), servers, torchserve, bucket, 60, 40)
    finally:
        torchserve.stop()
    told = capsys.readouterr().out
    steps = ("1 Train", "2 Publish", "3 Say where", "4 Train again", "5 Try", "6 Notice", "7 Roll back")
    assert all(f"] {step}" in told for step in steps), told
