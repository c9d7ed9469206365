"""What people type as corrections becomes labels to learn from, and a slip ends no training."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sluice.ledger.corrections import Correction
from trainer.manifest import NO_THUMB
from trainer.pictures.corrected import from_corrections
from trainer.pictures.judging import LEAST, judge_seen
from trainer.pictures.looking import SeenPicture

KNOWN = ("cat", "hot dog")


THEN = datetime(2026, 11, 28)  # noqa: DTZ001 - as the database tells it


def said(*labels: str) -> list[Correction]:
    return [correction(number, label, number) for number, label in enumerate(labels)]


def correction(picture: int, label: str, minute: int) -> Correction:
    return Correction(f"s3://photos/{picture}.jpg", f"etag-{picture}", label, THEN + timedelta(minutes=minute))


def test_a_correction_is_of_the_version_that_was_looked_at() -> None:
    found = from_corrections(said("cat"), KNOWN)
    (picture,) = found.pictures
    assert (picture.label, picture.etag, picture.is_correction) == ("cat", "etag-0", True)
    member = Correction("s3://photos/all.zip!/1.jpg", "of the archive", "cat", THEN)
    assert [each.etag for each in from_corrections([member], KNOWN).pictures] == [""], "its key says which member"


def test_a_label_that_looks_like_a_known_one_is_that_one() -> None:
    assert [each.label for each in from_corrections(said("Cat", "hot-dog", "Hot_Dog"), KNOWN).pictures] == [
        *("cat", "hot dog", "hot dog")
    ]
    fresh = said(*["fish"] * (LEAST - 1), "Fish")
    assert {each.label for each in from_corrections(fresh, KNOWN).pictures} == {"fish"}


def test_a_new_label_counts_once_enough_pictures_have_it() -> None:
    few = from_corrections(said("cat", *["fish"] * (LEAST - 1)), KNOWN)
    assert [each.label for each in few.pictures] == ["cat"]
    assert few.findings == ["corrections to labels that too few pictures have are left out: 'fish' (4)"]
    again = [correction(1, "fish", 0)] * LEAST
    assert from_corrections(again, KNOWN).pictures == [], "the same picture counts once"
    enough = from_corrections(said(*["fish"] * LEAST), KNOWN)
    assert (len(enough.pictures), enough.findings) == (LEAST, [])


def test_of_several_corrections_of_a_picture_the_newest_counts() -> None:
    """Whatever order the labels came up in, and although a report that is changed keeps its place in the table."""
    told = [correction(1, "hot dog", 9), correction(0, "cat", 1), correction(1, "cat", 2), correction(2, "hot dog", 3)]
    told += [correction(2, "cat", 4), correction(0, "hot dog", 5), correction(0, "cat", 8)]
    found = from_corrections(told, KNOWN)
    seen = [SeenPicture(each, hashlib.sha256(each.key).hexdigest(), NO_THUMB) for each in found.pictures]
    kept, _ = judge_seen(seen, [], "corrections", is_test=True)
    assert {each.picture.url: each.picture.label for each in kept} == {
        "s3://photos/0.jpg": "cat",
        "s3://photos/1.jpg": "hot dog",
        "s3://photos/2.jpg": "cat",
    }
