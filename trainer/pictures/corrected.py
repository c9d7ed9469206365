"""People's corrections as labels: what somebody typed on a page, of a picture that may have changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from sluice.domain import INSIDE
from sluice.ledger.corrections import Correction
from trainer.pictures.judging import LEAST, alike
from trainer.pictures.labelled import LabelledPicture, Labels, from_rows, named


def from_corrections(corrections: Iterable[Correction], known: Iterable[str]) -> Labels:
    """Return the pictures that people corrected or confirmed.

    A label that merely looks like a known one means that. One that is new, and that too few pictures have, is left out
    and told of: it may be a slip, and must not end a training that has enough without it.
    """
    spelt = {alike(label): label for label in known}
    wanted = set(spelt)
    by_label = defaultdict[str, list[LabelledPicture]](list)
    for each in corrections:
        (picture,) = from_rows([(each.url, each.label)], "the corrections").pictures
        label = spelt.setdefault(alike(picture.label), picture.label)
        # The version that was looked at: another one may show something else.
        etag = "" if INSIDE in each.url else each.etag
        by_label[label].append(replace(picture, label=label, etag=etag, is_correction=True))
    rare = {
        label: len(pictures)
        for label, pictures in sorted(by_label.items())
        if alike(label) not in wanted and len({each.url for each in pictures}) < LEAST
    }
    found = Labels()
    if rare:
        told = named([f"{label!r} ({count})" for label, count in rare.items()])
        found.findings.append(f"corrections to labels that too few pictures have are left out: {told}")
    for label, pictures in by_label.items():
        found.pictures += pictures if label not in rare else []
    return found
