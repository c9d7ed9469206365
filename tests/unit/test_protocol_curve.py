from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq

from sluice.errors import ConfigurationError
from sluice.protocol.curve import guard_client, make_keys, read_keys, read_public
from sluice.settings import read_settings


def test_a_key_file_is_for_its_owner_alone_and_reads_back(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "new" / "consumer")
    assert read_keys(tmp_path / "new" / "consumer") == keys
    assert read_public(tmp_path / "new" / "consumer.pub") == keys.public
    assert stat.S_IMODE((tmp_path / "new" / "consumer").stat().st_mode) == 0o600
    assert keys.secret.decode() not in (tmp_path / "new" / "consumer.pub").read_text()
    assert keys.secret.decode() not in repr(keys)


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="exists"):
        make_keys(tmp_path / "a")


@pytest.mark.parametrize("text", ["", "public = 5", 'secret = "short"', "\xff"])
def test_what_is_no_key_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(ConfigurationError, match="sluice keys"):
        read_keys(tmp_path / "a")


def test_a_consumer_with_a_key_needs_the_servers(tmp_path: Path) -> None:
    make_keys(tmp_path / "a")
    context = zmq.Context()
    with context.socket(zmq.DEALER) as socket:
        with pytest.raises(ConfigurationError, match="SLUICE_CURVE_SERVER"):
            guard_client(socket, read_settings(curve_key=tmp_path / "a"))
        with pytest.raises(ConfigurationError, match="40 characters"):
            guard_client(socket, read_settings(curve_key=tmp_path / "a", curve_server="x"))
    context.term()
