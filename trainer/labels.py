"""All labels of a training: of its source, of the rows that it brought, and of people's corrections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sluice.errors import TrainingError
from sluice.ledger import Database, trainings
from sluice.ledger.corrections import Correction, corrections
from sluice.ledger.trainings import Training
from sluice.settings import Settings
from trainer.pictures.corrected import from_corrections
from trainer.pictures.labelled import Labels, from_rows, read_labels_at

PAGE: Final = 1000


def labels_of(training: Training, settings: Settings, database: Database) -> tuple[Labels, Labels]:
    """Return the pictures that a training learns from, and those of its separate test."""
    most = settings.trainer_pictures
    found = read_labels_at(training.source, settings, most) if training.source else Labels()
    _add(found, from_rows(_brought(training, database, most), "the labels"))
    if training.corrections:
        _add(found, from_corrections(_corrected(training, database, most), {each.label for each in found.pictures}))
    return found, read_labels_at(training.test, settings, most) if training.test else Labels()


def _add(found: Labels, more: Labels) -> None:
    found.pictures += more.pictures
    found.findings += more.findings


def _brought(training: Training, database: Database, most: int) -> Iterator[tuple[str, str]]:
    after, count = 0, 0
    while page := database.run(trainings.labels_of, training.id, after, PAGE):
        after, count = page[-1][0], count + len(page)
        if count > most:
            raise TrainingError(f"there are more than {most:,} labels: raise SLUICE_TRAINER_PICTURES, or give fewer")
        yield from ((url, label) for _, url, label in page)


def _corrected(training: Training, database: Database, most: int) -> Iterator[Correction]:
    after, count = 0, 0
    while True:
        after, page = database.run(corrections, training.name, after, PAGE)
        count += len(page)
        if count > most:
            raise TrainingError(f"there are more than {most:,} corrections: raise SLUICE_TRAINER_PICTURES")
        yield from page
        if not after:
            return
