"""Where a gateway listens: what can't be had is a wrong setting, and says which."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.doors.listening import listen
from sluice.errors import ConfigurationError


def test_a_port_that_is_taken_names_the_setting_and_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"SLUICE_GATEWAY_BIND is {bind}.*in use.*free port"):
            asyncio.run(listen(bind))


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
def test_a_free_one_is_listened_on(bind: str) -> None:
    for listener in asyncio.run(listen(bind)):
        with listener:
            assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("bind", ["127.0.0.1", ":8000", "127.0.0.1:http", "127.0.0.1:65536", "192.0.2.7:8000"])
def test_what_is_no_address_of_this_machine_names_the_setting(bind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"SLUICE_GATEWAY_BIND is '?{bind}"):
        asyncio.run(listen(bind))
