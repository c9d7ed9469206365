"""What people type as corrections becomes labels to learn from, and a slip ends no training."""

from __future__ import annotations

from sluice.ledger.corrections import Correction
from trainer.pictures.corrected import from_corrections
from trainer.pictures.judging import LEAST

KNOWN = ("cat", "hot dog")


def said(*labels: str) -> list[Correction]:
    return [Correction(f"s3://photos/{number}.jpg", f"etag-{number}", label) for number, label in enumerate(labels)]


def test_a_correction_is_of_the_version_that_was_looked_at() -> None:
    found = from_corrections(said("cat"), KNOWN)
    (picture,) = found.pictures
    assert (picture.label, picture.etag, picture.is_correction) == ("cat", "etag-0", True)
    member = Correction("s3://photos/all.zip!/1.jpg", "of the archive", "cat")
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
    again = [Correction("s3://photos/1.jpg", "e", "fish")] * LEAST
    assert from_corrections(again, KNOWN).pictures == [], "the same picture counts once"
    enough = from_corrections(said(*["fish"] * LEAST), KNOWN)
    assert (len(enough.pictures), enough.findings) == (LEAST, [])
