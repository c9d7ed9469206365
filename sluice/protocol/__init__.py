"""Messages over ZeroMQ between producer and consumer, and their encryption; see docs/protocol.md."""

from sluice.protocol.frames import VERSION, decode, encode
from sluice.protocol.messages import (
    Bye,
    Credit,
    Done,
    Error,
    Failed,
    Failure,
    Hello,
    Message,
    Ping,
    Pong,
    Return,
    Work,
    WorkItem,
)

__all__ = [
    "VERSION",
    "Bye",
    "Credit",
    "Done",
    "Error",
    "Failed",
    "Failure",
    "Hello",
    "Message",
    "Ping",
    "Pong",
    "Return",
    "Work",
    "WorkItem",
    "decode",
    "encode",
]
