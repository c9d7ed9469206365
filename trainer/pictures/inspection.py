"""All that happens to pictures before anything is learned: listed, looked at, judged, and put on their sides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice.errors import TrainingError
from sluice.settings import Settings
from trainer.manifest import Manifest
from trainer.pictures.judging import judge_labels, judge_seen
from trainer.pictures.labelled import LabelledPicture, Labels
from trainer.pictures.looking import PictureReader, SeenPicture, look
from trainer.pictures.splitting import TEST, judge_test, near_duplicates, split
from trainer.progress import TrainingProgress

ROWS: Final = "the labels"


@dataclass(frozen=True, slots=True)
class Inspection:
    """Looks at pictures with a reader, and tells how far it is."""

    settings: Settings
    reader: PictureReader
    progress: TrainingProgress

    def inspect(self, labels: Labels, test: Labels, source: str, test_source: str, runner: asyncio.Runner) -> Manifest:
        """Return the pictures to learn from and to test on, or raise TrainingError with what is wrong with them."""
        what = source or ROWS
        judge_labels(labels.pictures, what)
        count, most = len(labels.pictures) + len(test.pictures), self.settings.trainer_pictures
        if count > most:
            raise TrainingError(f"{what}: there are {count:,} pictures, SLUICE_TRAINER_PICTURES allows {most:,}")
        self.progress.begin("reading", count)
        pictures, findings = self._seen(labels.pictures, what, runner)
        findings = [*labels.findings, *findings, *test.findings]
        sides = split(pictures, has_test=bool(test_source))
        if test_source:
            if not test.pictures:
                raise TrainingError(f"{test_source}: there are no pictures to test on: correct it, or leave --test out")
            told, more = self._seen(test.pictures, test_source, runner, is_test=True)
            told, leaks = judge_test(pictures, told)
            pictures, sides = [*pictures, *told], [*sides, *[TEST] * len(told)]
            findings += [*more, *leaks]
        findings += near_duplicates(pictures, sides)
        return Manifest(tuple(pictures), tuple(sides), tuple(findings))

    def _seen(
        self, pictures: Sequence[LabelledPicture], what: str, runner: asyncio.Runner, *, is_test: bool = False
    ) -> tuple[list[SeenPicture], list[str]]:
        seen, unreadable = runner.run(look(pictures, self.reader, self.settings, self.progress.step))
        return judge_seen(seen, unreadable, what, is_test=is_test)
