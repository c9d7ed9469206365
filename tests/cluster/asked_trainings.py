"""Labelled pictures in the release's bucket, and what the ledger says of a training on them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.cluster.releases import Release
from tests.support import labelled_pictures

SOURCE: Final = "s3://images/labelled/"
KINDS: Final = labelled_pictures.KINDS[:2]
EACH: Final = 12
PICTURES: Final = EACH * len(KINDS)


def upload_labelled(release: Release) -> None:
    """Put the pictures into the bucket; once more changes nothing."""
    release.run("python", "-", words=f"{Path(labelled_pictures.__file__).read_text(encoding='utf-8')}\n{WRITE}")
    release.run("sluice", "upload", "/tmp/labelled", SOURCE)


def ask(release: Release, name: str) -> int:
    """Ask for a training on them; return its number."""
    return int(release.run("sluice", "train", SOURCE, "--name", name))


def row(release: Release, training: int) -> list[str]:
    """Return a training's state, message, trainer and model."""
    asked = "state, message, trainer, CONCAT(name, '@', version)"
    return release.sql(f"SELECT {asked} FROM trainings WHERE id = {training}")[0]


def is_over(release: Release, training: int) -> bool:
    """Return whether a training has ended, well or not."""
    return row(release, training)[0] not in {"pending", "running"}


def serving(release: Release, model: str) -> int:
    """Return how many TorchServe pods serve a version."""
    return int(release.sql(f"SELECT served FROM model_versions WHERE model = '{model}'")[0][0])


WRITE: Final = f"""
from pathlib import Path
for key, data in labelled(each={EACH}).items():
    path = Path("/tmp/labelled", key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
"""
