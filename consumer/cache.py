"""Answers by content: equal bytes are inferred once a model, whether they come later or at the same moment."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict

from consumer.held import HeldObject
from sluice.inference import Answer

Key = tuple[int, bytes]


class AnswerCache:
    """The last `entries` answers, and who waits for which; asked from decoding threads, settled from the loop."""

    def __init__(self, entries: int) -> None:
        self._most = entries
        self._answers: OrderedDict[Key, bytes] = OrderedDict()
        self._waiting: dict[Key, list[HeldObject]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def recall(self, held: HeldObject) -> bool:
        """Set the answer that is known for these bytes, if one is."""
        with self._lock:
            return self._recall(held, _key(held))

    def ask(self, held: HeldObject) -> bool:
        """Set the known answer, or join whoever works on the same bytes; False: this one is the first, do the work."""
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

    def settle(self, held: HeldObject) -> list[HeldObject]:
        """Keep this one's answer, if it has one, and return those that waited for it."""
        if not self._most:
            return []
        key = _key(held)
        with self._lock:
            if held.answer is not None:
                self._answers[key] = _pack(held.answer)
                if len(self._answers) > self._most:
                    self._answers.popitem(last=False)
            if not held.leads:
                return []
            held.leads = False
            return self._waiting.pop(key)

    def _recall(self, held: HeldObject, key: Key) -> bool:
        packed = self._answers.get(key)
        if packed is None:
            return False
        self._answers.move_to_end(key)
        held.answer = Answer(tuple(struct.iter_unpack("<Id", packed)))
        return True


def _key(held: HeldObject) -> Key:
    return held.item.model, held.sha256


def _pack(answer: Answer) -> bytes:
    """Twelve bytes a label: ten thousand answers of five labels take some three megabytes."""
    return b"".join(struct.pack("<Id", index, score) for index, score in answer.top)
