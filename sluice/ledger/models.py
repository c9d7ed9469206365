"""The table `models`: which versions there are, what their cards say, which is live and which are retired.

All columns are read by `*`, and `card` is written only where there is one: the tables may be those of a release before,
which have neither it nor `retired`, nor what is said of published archives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluice.domain import Model
from sluice.errors import ConfigurationError, NotServed
from sluice.ledger import references, serving
from sluice.ledger.connection import LedgerCursor

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
COLUMNS: Final = frozenset({"name", "version", "digest", "preprocessing", "labels"})
"""What a card says in columns of its own."""


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """An archive in the model store."""

    sha256: str
    size: int


def register(
    cursor: LedgerCursor,
    name: str,
    version: str,
    digest: str,
    preprocessing: dict[str, object],
    labels: Sequence[str],
    card: Mapping[str, Any] | None = None,
) -> Model:
    """Make a version known, with the rest of its card; a version that is known must be the same."""
    _check_name(name, version)
    cursor.execute(
        "INSERT IGNORE INTO models (name, version, digest, preprocessing, labels) VALUES (%s, %s, %s, %s, %s)",
        (name, version, digest, json.dumps(preprocessing), json.dumps(list(labels), ensure_ascii=False)),
    )
    model = _find(cursor, "name = %s AND version = %s", (name, version))[0]
    _check_same(model, digest)
    rest = {part: value for part, value in (card or {}).items() if part not in COLUMNS}
    if not rest or rest == model.card or not _has_cards(cursor, model.id):
        return model
    # What is said beside the digest may change: the archive that was registered last is the one that is told.
    cursor.execute("UPDATE models SET card = %s WHERE id = %s", (json.dumps(rest, ensure_ascii=False), model.id))
    return _find(cursor, "id = %s", (model.id,))[0]


def check_free(cursor: LedgerCursor, name: str, version: str, digest: str) -> None:
    """Raise an error if another model has this name and version."""
    _check_name(name, version)
    found = find(cursor, name, version)
    if found is not None:
        _check_same(found, digest)


def publish(cursor: LedgerCursor, card: Mapping[str, Any], archive: StoredArchive) -> Model:
    """Make a version known whose archive lies in the model store: the agents beside TorchServe load it.

    One that couldn't be loaded is tried again.
    """
    columns = (card["name"], card["version"], card["digest"], card["preprocessing"], card["labels"])
    model = register(cursor, *columns, card)
    cursor.execute(
        "UPDATE models SET archive_sha256 = %s, archive_bytes = %s, failed = NULL WHERE id = %s",
        (archive.sha256, archive.size, model.id),
    )
    return _find(cursor, "id = %s", (model.id,))[0]


def promote(cursor: LedgerCursor, name: str, version: str) -> Model:
    """Make a version the live one of its name: jobs that start from now on use it.

    A published one must be served by every TorchServe with an agent; NotServed says which don't yet.
    """
    model = _locked(cursor, name, version)
    if model.live:
        return model
    _check_sound(cursor, model)
    before = live_version(cursor, name)
    cursor.execute("UPDATE models SET live = NULL WHERE name = %s AND version <> %s", (name, version))
    cursor.execute("UPDATE models SET live = 1 WHERE id = %s", (model.id,))
    references.promoted(cursor, model.id, before.id if before else None)
    return _find(cursor, "id = %s", (model.id,))[0]


def retire(cursor: LedgerCursor, name: str, version: str, *, undo: bool = False) -> Model:
    """Let no new job ask for a version, nor anybody promote it, or take that back; jobs that have begun go on."""
    model = _locked(cursor, name, version)
    if model.live and not undo:
        raise ConfigurationError(
            f"{name}@{version} is live, so jobs that name no version use it: promote another version of {name} first"
        )
    if undo:
        cursor.execute("UPDATE models SET retired = NULL WHERE id = %s", (model.id,))
    else:
        cursor.execute(
            "UPDATE models SET retired = CURRENT_TIMESTAMP(3) WHERE id = %s AND retired IS NULL", (model.id,)
        )
    return _find(cursor, "id = %s", (model.id,))[0]


def sound(cursor: LedgerCursor, name: str, version: str) -> Model:
    """Return a version that is live or might become so now; an error says why it can't, NotServed: not yet."""
    model = find(cursor, name, version)
    if model is None:
        raise _unregistered(name, version)
    if not model.live:
        _check_sound(cursor, model)
    return model


def live_version(cursor: LedgerCursor, name: str) -> Model | None:
    """Return the live version of a name."""
    return next(iter(_find(cursor, "name = %s AND live = 1", (name,))), None)


def get(cursor: LedgerCursor, model_id: int) -> Model | None:
    """Return one model."""
    found = _find(cursor, "id = %s", (model_id,))
    return found[0] if found else None


def find(cursor: LedgerCursor, name: str, version: str) -> Model | None:
    """Return a version of a model."""
    found = _find(cursor, "name = %s AND version = %s", (name, version))
    return found[0] if found else None


def resolve(cursor: LedgerCursor, spec: str) -> Model:
    """Return the model that a new job means by '', 'name' or 'name@version'."""
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
    if found[0].retired:
        raise ConfigurationError(f"{spec} is retired: name another version, as `sluice models list` shows them")
    if found[0].failed and not found[0].live:
        raise ConfigurationError(f"{spec} can't be loaded: {found[0].failed}")
    return found[0]


def list_models(cursor: LedgerCursor) -> list[Model]:
    """Return all models by name, versions in order of registration."""
    return _find(cursor, "1 = 1 ORDER BY name, id", ())


def page(cursor: LedgerCursor, after_id: int, limit: int) -> list[Model]:
    """Return the next versions after an id, in order of registration."""
    return _find(cursor, "id > %s ORDER BY id LIMIT %s", (after_id, limit))


def card_of(model: Model) -> dict[str, Any]:
    """Return a model's whole card, as its archive has it; where none was kept, what the row says."""
    told = {
        "name": model.name,
        "version": model.version,
        "digest": model.digest,
        "preprocessing": model.preprocessing,
        "classes": len(model.labels),
        "labels": model.labels,
    }
    return {**told, **model.card}


def _check_name(name: str, version: str) -> None:
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise ConfigurationError(f"{name}@{version} is no model name and version: use letters, digits, '.', '_', '-'")


def _check_same(model: Model, digest: str) -> None:
    if model.digest != digest:
        raise ConfigurationError(
            f"{model.name}@{model.version} is registered with digest {model.digest[:12]}, this one has {digest[:12]}: "
            "give the new archive another version"
        )


def _locked(cursor: LedgerCursor, name: str, version: str) -> Model:
    """Return a version whose row nobody else changes until the transaction ends."""
    found = _find(cursor, "name = %s AND version = %s FOR UPDATE", (name, version))
    if not found:
        raise _unregistered(name, version)
    return found[0]


def _unregistered(name: str, version: str) -> ConfigurationError:
    return ConfigurationError(f"{name}@{version} is not registered: `sluice models list` shows what is")


def _check_sound(cursor: LedgerCursor, model: Model) -> None:
    """Raise an error if a version can't become live."""
    name = f"{model.name}@{model.version}"
    if model.failed:
        raise ConfigurationError(f"{name} can't be loaded: {model.failed}")
    if model.retired:
        raise ConfigurationError(f"{name} is retired: `sluice models retire --undo {name}` takes it back")
    why = serving.why_not_served(cursor, model.id) if model.archive_sha256 else ""
    if why:
        raise NotServed(f"{name} is not served everywhere: {why}")


def _has_cards(cursor: LedgerCursor, model_id: int) -> bool:
    cursor.execute("SELECT * FROM models WHERE id = %s", (model_id,))
    return "card" in (cursor.fetchone() or {})


def _find(cursor: LedgerCursor, where: str, values: tuple[object, ...]) -> list[Model]:
    cursor.execute(f"SELECT * FROM models WHERE {where}", values)
    return [
        Model(
            row["id"],
            row["name"],
            row["version"],
            row["digest"],
            json.loads(row["preprocessing"]),
            json.loads(row["labels"]),
            bool(row["live"]),
            json.loads(row.get("card") or "{}"),
            row.get("retired") is not None,
            row.get("archive_sha256") or "",
            row.get("failed") or "",
        )
        for row in cursor.fetchall()
    ]
