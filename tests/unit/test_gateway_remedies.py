"""What a picture's sender is told to do."""

from __future__ import annotations

import pytest

from gateway.remedies import remedy_of
from sluice.domain import Reason


@pytest.mark.parametrize("reason", Reason)
def test_nobody_is_told_to_replay_what_was_not_kept(reason: Reason) -> None:
    said = remedy_of(reason)
    assert said.endswith(".")
    assert "replay" not in said.lower()
    assert "SLUICE_" not in said
