"""Answers by content: equal bytes are inferred once per model, even if they arrive at the same time."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict

from consumer.held import HeldObject
from sluice.inference import Answer

Key = tuple[int, bytes]


class AnswerCache:
    """The last `entries` answers, and the objects that wait for them; read by decoding threads, written by the loop."""

    def __init__(self, entries: int) -> None:
        self._most = entries
        self._answers: OrderedDict[Key, bytes] = OrderedDict()
        self._waiting: dict[Key, list[HeldObject]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, held: HeldObject) -> bool:
        """Set the cached answer for these bytes, if there is one."""
        with self._lock:
            return self._recall(held, _key(held))

    def ask(self, held: HeldObject) -> bool:
        """Set the cached answer, or wait for the object with the same bytes; False: it is the first, infer it."""
        if not self._most:
            return False
        key = _key(held)
        with self._lock:
            if self._recall(held, key):
                return True
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = []
                held.leads = True
                return False
            held.waits = True
            waiting.append(held)
            return True

    def known(self, model_id: int, sha256: bytes) -> Answer | None:
        """Return what a candidate has said of these bytes; nobody waits for it here."""
        with self._lock:
            packed = self._answers.get((model_id, sha256))
        return None if packed is None else _unpack(packed)

    def keep(self, model_id: int, sha256: bytes, answer: Answer) -> None:
        """Cache what a candidate says."""
        if self._most:
            with self._lock:
                self._put((model_id, sha256), answer)

    def settle(self, held: HeldObject) -> list[HeldObject]:
        """Cache this object's answer, if it has one, and return the objects that waited for it."""
        if not self._most:
            return []
        key = _key(held)
        with self._lock:
            if held.answer is not None:
                self._put(key, held.answer)
            if not held.leads:
                return []
            held.leads = False
            return self._waiting.pop(key)

    def _put(self, key: Key, answer: Answer) -> None:
        self._answers[key] = _pack(answer)
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)

    def _recall(self, held: HeldObject, key: Key) -> bool:
        packed = self._answers.get(key)
        if packed is None:
            return False
        self._answers.move_to_end(key)
        held.answer = _unpack(packed)
        return True


def _key(held: HeldObject) -> Key:
    return held.item.model, held.sha256


def _pack(answer: Answer) -> bytes:
    """Pack an answer in twelve bytes per label: ten thousand answers of five labels take about three megabytes."""
    return b"".join(struct.pack("<Id", index, score) for index, score in answer.top)


def _unpack(packed: bytes) -> Answer:
    return Answer(tuple(struct.iter_unpack("<Id", packed)))
