"""Pictures of a training: well-formed SVG that shows labels as they are, whatever is in them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from trainer.learning import drawings
from trainer.learning.drawings import Mistake
from trainer.learning.measuring import measure

LABELS = ("<b>&amp;", 'a "quoted" label that is much too long to be shown')
LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
MEASURES = measure(LOGITS, LOGITS / 2, np.array([0, 1, 1]), LABELS)
MISTAKE = Mistake(np.zeros((8, 8, 3), dtype=np.uint8), LABELS[1], LABELS[0], 0.95)


@pytest.mark.parametrize(
    ("drawn", "shown"),
    [
        (drawings.learning_curve([(10, 0.5), (20, 0.75)]), "pictures"),
        (drawings.epochs([(1.0, 0.9), (0.5, 0.6)]), "checked with"),
        (drawings.reliability_chart(MEASURES), "score"),
        (drawings.confusion_chart(MEASURES), "<b>&amp;"),
        (drawings.mistakes_sheet([MISTAKE]), "shows a"),
        (drawings.mistakes_sheet([]), "None"),
    ],
)
def test_a_drawing_is_well_formed_and_says_what_it_shows(drawn: bytes, shown: str) -> None:
    whole = ET.fromstring(drawn)
    assert whole.tag.endswith("svg")
    assert shown in "".join(whole.itertext())
