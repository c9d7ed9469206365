"""Flame graphs of what py-spy saw."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tools.bench.flame import draw, read_stacks

STACKS = """\
_worker (concurrent/futures/thread.py:83);decode (consumer/decode.py:40);load (PIL/a.py:1) 60
_worker (concurrent/futures/thread.py:83);decode (consumer/decode.py:44);load (PIL/a.py:2) 20
Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81) 900
Thread.run (threading.py:982);serve (x.py:1);select (selectors.py:415) 300
commit (sluice/ledger/predictions.py:31);<lambda> (sluice/ledger/predictions.py:32) 19
rare (sluice/rare.py:1) 0
"""


def test_calls_of_one_function_are_one_and_waiting_is_left_out() -> None:
    root = read_stacks(STACKS)
    assert root.samples == 99
    assert {name: call.samples for name, call in root.calls.items()} == {
        "decode (consumer/decode.py)": 80,
        "commit (sluice/ledger/predictions.py)": 19,
        "rare (sluice/rare.py)": 0,
    }
    assert list(root.calls["decode (consumer/decode.py)"].calls) == ["load (PIL/a.py)"]


def test_a_picture_is_xml_and_has_each_call_that_is_large_enough() -> None:
    picture = ET.fromstring(draw(read_stacks(STACKS), "python -m consumer & more"))
    titles = [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "all that the process computed: 100.0%",
        "decode (consumer/decode.py): 80.8%",
        "load (PIL/a.py): 80.8%",
        "commit (sluice/ledger/predictions.py): 19.2%",
        "<lambda> (sluice/ledger/predictions.py): 19.2%",
    ]


def test_a_process_that_only_waited_is_drawn_too() -> None:
    assert "100.0%" not in draw(read_stacks(""), "nothing")
