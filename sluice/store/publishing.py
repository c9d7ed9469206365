"""Publishing: an archive's bytes into the model store, then its row into `models`."""

from __future__ import annotations

from pathlib import Path

from sluice.domain import Model
from sluice.ledger import Database, models
from sluice.settings import Settings
from sluice.store.archive import check_archive
from sluice.store.shelf import ModelStore


def publish(archive: Path, settings: Settings, database: Database) -> Model:
    """Check an archive, put it into the model store, and make its version known; once more changes nothing.

    The agents beside TorchServe then load it. ConfigurationError says what is wrong with the archive, before anything
    is stored.
    """
    store = ModelStore(settings)
    checked = check_archive(archive, settings.model_max_bytes)
    name, version, digest = (checked.card[part] for part in ("name", "version", "digest"))
    database.run(models.check_free, name, version, digest)
    store.put(archive, name, version, checked.sha256)
    return database.run(models.publish, checked.card, models.StoredArchive(checked.sha256, checked.size))
