"""What is wrong with labelled pictures, told before anything is computed.

What can't be learned from ends a training; what merely makes its model worse is told.

`judge_labels` knows only names, `judge_seen` also the bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from sluice.errors import TrainingError
from trainer.pictures.labelled import LabelledPicture, named
from trainer.pictures.looking import SeenPicture, UnreadablePicture

LEAST: Final = 5
"""Different pictures of a class, at least: one for the test, the others to learn from."""
FEW: Final = 20
CLASSES_MAX: Final = 1000
SKEWED: Final = 20
"""A class that has so many times the pictures of another one is told of."""
UNREADABLE_MAX: Final = 0.5
CONFLICTS_MAX: Final = 0.01
REPEATED: Final = 0.5


def judge_labels(pictures: Sequence[LabelledPicture], what: str) -> None:
    """Raise TrainingError if these labels can't be learned, whatever the pictures show."""
    if not pictures:
        raise TrainingError(f"{what}: there are no pictures: correct the prefix, or upload some (`sluice upload`)")
    classes = Counter(picture.label for picture in pictures)
    if len(classes) == 1:
        raise TrainingError(
            f"{what}: all pictures are of one class, {next(iter(classes))!r}: add what is different, if only 'other'"
        )
    if len(classes) > CLASSES_MAX:
        raise TrainingError(
            f"{what}: there are {len(classes):,} classes, {CLASSES_MAX:,} at most can be learned: are the labels names "
            f"of files? They begin {named(sorted(classes))}"
        )
    spellings = defaultdict[str, list[str]](list)
    for label in sorted(classes):
        spellings[alike(label)].append(label)
    for labels in spellings.values():
        if len(labels) > 1:
            raise TrainingError(
                f"{what}: {', '.join(map(repr, labels))} are classes of their own, but look like one: use one name"
            )
    _refuse_few(classes, what, "")


def alike(label: str) -> str:
    """Return what is the same for labels that look like one."""
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())


def judge_seen(
    seen: Sequence[SeenPicture], unreadable: Sequence[UnreadablePicture], what: str, *, is_test: bool = False
) -> tuple[list[SeenPicture], list[str]]:
    """Return the pictures to learn from, one for each content and by content, and what is to be told of the others.

    A separate test needs neither two classes nor so many pictures of each.
    """
    findings = _unreadable(seen, unreadable, what, is_test=is_test)
    by_content = defaultdict[str, list[SeenPicture]](list)
    for each in seen:
        by_content[each.sha256].append(each)
    kept, conflicts, repeated = list[SeenPicture](), list[list[SeenPicture]](), 0
    for sha256 in sorted(by_content):
        same = by_content[sha256]
        corrected = [each for each in same if each.picture.is_correction]
        told = corrected[-1:] or same  # the newest correction is what a person said last
        if len({each.picture.label for each in told}) > 1:
            conflicts.append(same)
            continue
        repeated += len(same) - 1
        kept.append(told[0])
    findings += _conflicts(conflicts, len(by_content), what)
    if repeated:
        findings.append(f"{repeated:,} pictures are byte for byte like others of their class, and count once")
    if is_test:
        return kept, findings
    judge_labels([each.picture for each in kept], what)
    findings += _weak(Counter(each.picture.label for each in kept))
    return kept, findings


def _unreadable(
    seen: Sequence[SeenPicture], unreadable: Sequence[UnreadablePicture], what: str, *, is_test: bool
) -> list[str]:
    if not unreadable:
        return []
    told = named([f"{each.url} ({each.why[:100]})" for each in unreadable])
    if len(unreadable) > UNREADABLE_MAX * (len(seen) + len(unreadable)):
        raise TrainingError(
            f"{what}: {len(unreadable):,} of {len(seen) + len(unreadable):,} pictures can't be read: {told}"
        )
    readable = Counter(each.picture.label for each in seen)
    if not is_test:
        _refuse_few(
            Counter({label: readable[label] for label in {each.label for each in unreadable}}),
            what,
            f" that can be read ({told})",
        )
    return [f"{len(unreadable):,} pictures can't be read and are left out: {told}"]


def _conflicts(conflicts: Sequence[Sequence[SeenPicture]], contents: int, what: str) -> list[str]:
    if not conflicts:
        return []
    shown = named(
        [" and ".join(f"{each.picture.url} ({each.picture.label})" for each in same[:2]) for same in conflicts]
    )
    if len(conflicts) > CONFLICTS_MAX * contents:
        raise TrainingError(
            f"{what}: the same picture stands under two labels, {len(conflicts):,} times: {shown}: keep the right one"
        )
    return [f"{len(conflicts):,} pictures stand under two labels each and are left out: {shown}"]


def _refuse_few(classes: Mapping[str, int], what: str, which: str) -> None:
    few = {label: count for label, count in sorted(classes.items()) if count < LEAST}
    if few:
        raise TrainingError(
            f"{what}: a class needs {LEAST} different pictures{which} at least: "
            f"{named([f'{label!r} has {count}' for label, count in few.items()])}: add some, or leave the class out"
        )


def _weak(classes: Mapping[str, int]) -> list[str]:
    findings = []
    few = [f"{label!r} has {count}" for label, count in sorted(classes.items()) if count < FEW]
    if few:
        findings.append(f"few pictures, so expect mistakes: {named(few)}")
    most, least = max(classes, key=lambda label: classes[label]), min(classes, key=lambda label: classes[label])
    if classes[most] > SKEWED * classes[least]:
        findings.append(
            f"{most!r} has {classes[most]:,} pictures, {least!r} {classes[least]:,}: rare classes are missed often"
        )
    return findings
