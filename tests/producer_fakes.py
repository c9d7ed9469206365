"""Messages as a broken or hostile peer might send them."""

from __future__ import annotations

import random

from sluice.protocol import (
    Bye,
    Credit,
    Done,
    Error,
    Failed,
    Failure,
    Hello,
    Ping,
    Pong,
    Return,
    Work,
    WorkItem,
    encode,
)


def mutated(chance: random.Random, frames: list[bytes]) -> list[bytes]:
    """Damage a message the way a bad peer might: flipped bytes, cut frames, frames left out, doubled or made up."""
    frames = list(frames)
    how = chance.randrange(6)
    place = chance.randrange(len(frames))
    if how == 0:
        return [chance.randbytes(chance.randrange(80)) for _ in range(chance.randrange(5))]
    if how == 1:
        frames[place] = frames[place][: chance.randrange(len(frames[place]) + 1)]
    elif how == 2:
        damaged = bytearray(frames[place] or b"\0")
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        frames[place] = bytes(damaged)
    elif how == 3:
        del frames[place]
    elif how == 4:
        frames.insert(place, chance.randbytes(chance.randrange(20)))
    return frames


def samples() -> list[list[bytes]]:
    item = WorkItem(1, 1, 1, "s3://b", b"k", "e", 3, inline=True, alone=False)
    return [
        encode(Hello("a")),
        encode(Credit(2**40, 0)),
        encode(Work([item]), [b"abc"]),
        encode(Done([1, 2, 3])),
        encode(Failed([Failure(1, "corrupt", "x")])),
        encode(Return([1, 2])),
        encode(Ping()),
        encode(Pong()),
        encode(Bye()),
        encode(Error("malformed", "x")),
    ]
