"""The loop, step by step. Each step says what it does and what to look at, does it, and checks that it came so.

How long a step took and how good a model is are shown; neither is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from tools.loop.person import LoopError, LoopPerson
from tools.loop.pictures import DARK, LoopPictures, darkened
from tools.stack import S3Server

WAIT_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.2


class Story:
    """One run."""

    def __init__(
        self, pictures: LoopPictures, person: LoopPerson, s3: S3Server, bucket: str, looked_at: int, margin: int
    ) -> None:
        """The person looks at so many answers; the new version may be worse by so many points."""
        self._pictures = pictures
        self._person = person
        self._s3 = s3
        self._bucket = bucket
        self._looked_at = looked_at
        self._margin = margin
        self._begun = time.monotonic()
        self._number = 0
        self._learned = 0

    def run(self) -> None:
        """Go once around."""
        first = self._train_first()
        job = self._classify(first)
        self._correct(job)
        second = self._train_again()
        self._try_out(second)
        self._become_dark(second)
        self._roll_back(first, second)

    def _step(self, title: str) -> None:
        self._number += 1
        print(f"\n[{time.monotonic() - self._begun:4.0f} s] {self._number} {title}", flush=True)

    def _train_first(self) -> str:
        shown = self._pictures
        labels = sorted({key.partition("/")[0] for key in shown.labelled})
        self._step("Train on labelled pictures")
        self._say(
            f"{len(shown.labelled)} {shown.told}, of {len(labels)} classes: {', '.join(labels)}",
            "The folder is the label. Look at the accuracy with its interval, and at what was found.",
        )
        self._put("labelled", shown.labelled)
        model = self._trained()
        self._learned = self._pictures_of(model)
        return model

    def _classify(self, model: str) -> int:
        self._step("Publish it, and classify what is new")
        self._say("Promotion waits until TorchServe serves it; no process is started again.")
        self._person.types("models", "promote", model)
        self._put("new", self._pictures.new)
        job = self._person.submits(f"s3://{self._bucket}/new/", "--model", self._pictures.model)
        found = self._person.results(job)
        _check(len(found) == len(self._pictures.new), f"{len(found)} of {len(self._pictures.new)} pictures have a row")
        self._say(f"each of {len(found)} pictures has a row; {_right(found)} of them are right")
        return job

    def _correct(self, job: int) -> None:
        self._step("Say where it is wrong")
        found = sorted(self._person.results(job), key=lambda each: float(each["score"]))[: self._looked_at]
        for each in found:
            self._person.says(each["object_id"], each["truth"])
        wrong = sum(each["label"] != each["truth"] for each in found)
        self._say(
            f"A person looks at the {len(found)} pictures that the model is least sure of, and says by the API",
            f"(POST /api/v1/feedback) what they show: {wrong} are corrected, {len(found) - wrong} confirmed.",
        )

    def _train_again(self) -> str:
        self._step("Train again, with the corrections")
        self._say("Look at how many pictures it learned from now. Features of those it knows aren't computed again.")
        model = self._trained("--corrections")
        more = self._pictures_of(model) - self._learned
        _check(more > 0, f"{model} learned from no correction")
        self._say(f"{more} pictures were added")
        return model

    def _try_out(self, candidate: str) -> int:
        """Have the gate of a trial promote a version; return the job that it was tried on."""
        name, more = self._pictures.model, self._pictures.more
        self._step("Try the new version out beside the old one")
        self._say(
            "The live version answers each picture, and the new one in its shadow. A person says what some show;",
            f"once the new one is surely not worse by more than {self._margin} points, it becomes live by itself.",
        )
        gate = f"n >= {len(more)} and accuracy >= -{self._margin}"
        self._person.types("models", "trial", candidate, "--share", "1", "--shadow", "--promote-when", gate)
        state = "SELECT state FROM trials WHERE model = %s"
        self._wait("the trial runs", lambda: self._person.asks(state, candidate)[0]["state"] == "running")
        self._put("more", more)
        job = self._person.submits(f"s3://{self._bucket}/more/", "--model", name)
        # Their urls are in no order, so the first ones are a sample.
        sample = sorted(self._person.results(job), key=lambda each: str(each["url"]))[: self._looked_at]
        for each in sample:
            self._person.says(each["object_id"], each["truth"])
        self._say(f"what {len(sample)} of them show is said")
        self._wait("the gate opens", lambda: self._person.asks(state, candidate)[0]["state"] == "promoted")
        (trial,) = self._person.asks("SELECT id FROM trials WHERE model = %s", candidate)
        self._person.types("models", "trials", str(trial["id"]))
        self._say("From now on the view `current` is what the new version says: it answers the same pictures.")
        self._person.submits("--again", str(job), "--model", candidate)
        return job

    def _become_dark(self, live: str) -> None:
        self._step("Notice that a camera has become dark")
        self._say(
            f"The same pictures with {DARK:.0%} of their light: nothing fails, but the model was made for others.",
            "Look at what moved, and at the pictures that moved it.",
        )
        self._put("dark", darkened(self._pictures.new))
        self._person.submits(f"s3://{self._bucket}/dark/", "--model", self._pictures.model)
        alarm = "SELECT statistic FROM drift WHERE model = %s AND state = 'alarm'"
        self._wait("the alarm", lambda: "brightness" in {row["statistic"] for row in self._person.asks(alarm, live)})
        self._person.types("drift", self._pictures.model, code=1)

    def _roll_back(self, first: str, second: str) -> None:
        self._step("Roll back")
        self._say(
            "Promote the older version: the view `current` answers by it at once, and nothing is classified again."
        )
        _check(self._currently() == {second}, f"`current` answers by {self._currently()}")
        predictions = "SELECT COUNT(*) AS many FROM predictions"
        (before,) = self._person.asks(predictions)
        self._person.types("models", "promote", first)
        self._person.types("sql", "SELECT model, COUNT(*) AS pictures FROM current GROUP BY model")
        (after,) = self._person.asks(predictions)
        _check(self._currently() == {first}, f"`current` answers by {self._currently()}")
        _check(before == after, "something was classified again")

    def _currently(self) -> set[str]:
        statement = "SELECT DISTINCT model FROM current WHERE url LIKE %s"
        return {str(row["model"]) for row in self._person.asks(statement, f"s3://{self._bucket}/more/%")}

    def _trained(self, *more: str) -> str:
        """Train, and return what came of it as NAME@VERSION."""
        name = self._pictures.model
        self._person.types("train", f"s3://{self._bucket}/labelled/", "--name", name, *more, "--wait")
        (row,) = self._person.asks("SELECT name, version FROM trainings ORDER BY id DESC LIMIT 1")
        return f"{row['name']}@{row['version']}"

    def _pictures_of(self, model: str) -> int:
        """Return how many pictures a version learned from, or was tested on."""
        return sum(self._person.card(*model.split("@"))["training"]["pictures"].values())

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while not holds():
            _check(time.monotonic() < until, f"waited {WAIT_SECONDS:.0f} s in vain: {what}")
            time.sleep(POLL_SECONDS)
        self._say(what)

    def _put(self, folder: str, pictures: Mapping[str, bytes]) -> None:
        self._s3.fill(self._bucket, [(f"{folder}/{key}", data) for key, data in pictures.items()])

    def _say(self, *lines: str) -> None:
        for line in lines:
            print(f"    {line}", flush=True)


def _right(found: list[dict[str, Any]]) -> int:
    return sum(each["label"] == each["truth"] for each in found)


def _check(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - read in one place
    if not holds:
        raise LoopError(otherwise)
