"""What a started process makes of Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_heard() -> Iterator[None]:
    """Let processes started inside hear SIGINT, whoever started the tests.

    A process inherits an ignored signal and is right to go on ignoring it: under `nohup ... &` nobody is there for a
    Ctrl-C. A handler isn't inherited: the child begins with the default.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
