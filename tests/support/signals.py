"""Whether started processes get Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ctrl_c_heard() -> Iterator[None]:
    """Let processes that are started inside receive SIGINT, however the tests were started.

    A process inherits an ignored signal, and rightly keeps ignoring it: with `nohup ... &` nobody presses Ctrl-C. A
    handler isn't inherited: the child begins with the default action.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
