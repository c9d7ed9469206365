"""The table `models`: the registered versions, and which are live."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from sluice.domain import Model
from sluice.errors import ConfigurationError
from sluice.ledger.connection import LedgerCursor

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def register(
    cursor: LedgerCursor, name: str, version: str, digest: str, preprocessing: dict[str, object], labels: Sequence[str]
) -> Model:
    """Insert a version; if it exists, it must be the same."""
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise ConfigurationError(f"{name}@{version} is no model name and version: use letters, digits, '.', '_', '-'")
    cursor.execute(
        "INSERT IGNORE INTO models (name, version, digest, preprocessing, labels) VALUES (%s, %s, %s, %s, %s)",
        (name, version, digest, json.dumps(preprocessing), json.dumps(list(labels), ensure_ascii=False)),
    )
    model = _find(cursor, "name = %s AND version = %s", (name, version))[0]
    if model.digest != digest:
        raise ConfigurationError(
            f"{name}@{version} is registered with digest {model.digest[:12]}, this one has {digest[:12]}: "
            "give the new archive another version"
        )
    return model


def promote(cursor: LedgerCursor, name: str, version: str) -> Model:
    """Make a version the live one of its name: jobs that start from now on use it."""
    found = _find(cursor, "name = %s AND version = %s", (name, version))
    if not found:
        raise ConfigurationError(f"{name}@{version} is not registered: `sluice models list` shows what is")
    cursor.execute("UPDATE models SET live = NULL WHERE name = %s AND version <> %s", (name, version))
    cursor.execute("UPDATE models SET live = 1 WHERE id = %s", (found[0].id,))
    return _find(cursor, "id = %s", (found[0].id,))[0]


def get(cursor: LedgerCursor, model_id: int) -> Model | None:
    """Return one model."""
    found = _find(cursor, "id = %s", (model_id,))
    return found[0] if found else None


def find(cursor: LedgerCursor, name: str, version: str) -> Model | None:
    """Return a version of a model."""
    found = _find(cursor, "name = %s AND version = %s", (name, version))
    return found[0] if found else None


def resolve(cursor: LedgerCursor, spec: str) -> Model:
    """Return the model that a job's '', 'name' or 'name@version' refers to."""
    name, at, version = spec.partition("@")
    if at and not (name and version):
        raise ConfigurationError(f"{spec!r} names no model: write NAME@VERSION, NAME for its live version, or nothing")
    if version:
        found = _find(cursor, "name = %s AND version = %s", (name, version))
    elif name:
        found = _find(cursor, "name = %s AND live = 1", (name,))
    else:
        found = _find(cursor, "live = 1", ())
    if not found:
        what = f"no live version of {name}" if name and not version else f"no model {spec}" if spec else "no live model"
        raise ConfigurationError(f"there is {what}: see `sluice models list`, then `sluice models promote`")
    if len(found) > 1:
        names = ", ".join(f"{model.name}@{model.version}" for model in found)
        raise ConfigurationError(f"several models are live ({names}): say which, with --model or in the job's `model`")
    return found[0]


def list_models(cursor: LedgerCursor) -> list[Model]:
    """Return all models by name, versions in order of registration."""
    return _find(cursor, "1 = 1 ORDER BY name, id", ())


def page(cursor: LedgerCursor, after_id: int, limit: int) -> list[Model]:
    """Return the next versions after an id, in order of registration."""
    return _find(cursor, "id > %s ORDER BY id LIMIT %s", (after_id, limit))


def _find(cursor: LedgerCursor, where: str, values: tuple[object, ...]) -> list[Model]:
    cursor.execute(
        f"SELECT id, name, version, digest, preprocessing, labels, live FROM models WHERE {where}",
        values,
    )
    return [
        Model(
            row["id"],
            row["name"],
            row["version"],
            row["digest"],
            json.loads(row["preprocessing"]),
            json.loads(row["labels"]),
            bool(row["live"]),
        )
        for row in cursor.fetchall()
    ]
