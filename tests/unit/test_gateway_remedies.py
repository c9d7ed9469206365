"""What a picture's sender is told to do."""

from __future__ import annotations

import pytest

from gateway.remedies import as_by_http, remedy_of
from sluice.domain import Reason


@pytest.mark.parametrize("reason", Reason)
def test_nobody_is_told_to_replay_what_was_not_kept(reason: Reason) -> None:
    said = remedy_of(reason)
    assert said.endswith(".")
    assert "replay" not in said.lower()
    assert "SLUICE_" not in said


def test_who_asks_by_http_is_not_sent_to_a_command_line() -> None:
    said = as_by_http("there is no model x: see `sluice models list`, then `sluice models promote`")
    assert "sluice models" not in said
    assert "/api/v1/models" in said
