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
    """Return the pictures that people corrected or confirmed, as somebody said it last at the end.

    A label that merely looks like a known one means that. One that is new, and that too few pictures have, is left out
    and told of: it may be a slip, and must not end a training that has enough without it.
    """
    spelt = {alike(label): label for label in known}
    wanted = set(spelt)
    pictures, urls = list[LabelledPicture](), defaultdict[str, list[str]](list)
    for each in sorted(corrections, key=lambda correction: correction.said):
        (picture,) = from_rows([(each.url, each.label)], "the corrections").pictures
        label = spelt.setdefault(alike(picture.label), picture.label)
        # The version that was looked at: another one may show something else.
        etag = "" if INSIDE in each.url else each.etag
        pictures.append(replace(picture, label=label, etag=etag, is_correction=True))
        urls[label].append(picture.url)
    rare = {
        label: len(named_so)
        for label, named_so in sorted(urls.items())
        if alike(label) not in wanted and len(set(named_so)) < LEAST
    }
    found = Labels()
    if rare:
        told = named([f"{label!r} ({count})" for label, count in rare.items()])
        found.findings.append(f"corrections to labels that too few pictures have are left out: {told}")
    found.pictures += [each for each in pictures if each.label not in rare]
    return found
