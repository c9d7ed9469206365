"""The tables `servers` and `servings`: which TorchServe has which published version, as the agents beside them tell.

An agent's server counts as long as its agent has been seen in the last LIVING_SECONDS. The tables may be those of a
release without them: then nothing is published, and nobody serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sluice.ledger.columns import has_table
from sluice.ledger.connection import LedgerCursor
from sluice.ledger.rows import shortened

LIVING_SECONDS: Final = 15
GONE_SECONDS: Final = 3600
"""Rows of servers that haven't been seen for so long are removed."""
UNLOADED_SECONDS: Final = 15
"""How long a retired version stays loaded at least: longer than anybody remembers which version is meant."""
MESSAGE_MAX: Final = 1000
USED: Final = "EXISTS (SELECT 1 FROM jobs j WHERE j.model_id = m.id AND j.state IN ('pending', 'running', 'paused'))"
TRIED: Final = "EXISTS (SELECT 1 FROM trials t WHERE t.model_id = m.id AND t.state = 'running')"
LIVING: Final = f"seen > CURRENT_TIMESTAMP(3) - INTERVAL {LIVING_SECONDS} SECOND"


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """A version that TorchServe shall have; without an archive in the store, one that it has already and is live."""

    id: int
    name: str
    version: str
    digest: str
    sha256: str
    size: int
    is_live: bool
    is_used: bool
    """An unfinished job or a trial needs it."""
    failed: str
    """Why it can't be loaded; empty if nobody has found so."""


@dataclass(frozen=True, slots=True)
class ServingState:
    """What an agent says of one version: `loading`, `served` or `failed`, and why."""

    state: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServingServer:
    """A living server, and how far it is with one version."""

    server: str
    state: str
    message: str


@dataclass(frozen=True, slots=True)
class VersionState:
    """What is told of a version: a row of the view `model_versions`."""

    state: str
    """`live`, `retired`, `failed`, `served` (by every server), `published` (not yet) or `registered` (no agent's)."""
    served: int
    servers: int
    message: str


def states(cursor: LedgerCursor, model_ids: Sequence[int]) -> dict[int, VersionState]:
    """Return how far versions are, by id; nothing on the tables of a release that had no servers."""
    if not model_ids:
        return {}
    cursor.execute(
        "SELECT COUNT(*) AS n FROM information_schema.views "
        "WHERE table_schema = DATABASE() AND table_name = 'model_versions'"
    )
    if not (cursor.fetchone() or {"n": 0})["n"]:
        return {}
    cursor.execute(
        "SELECT model_id, state, served, servers, message FROM model_versions WHERE model_id IN %s", (tuple(model_ids),)
    )
    return {
        row["model_id"]: VersionState(row["state"], int(row["served"]), int(row["servers"]), row["message"])
        for row in cursor.fetchall()
    }


def wanted(cursor: LedgerCursor) -> list[WantedVersion]:
    """Return the published versions to be loaded, and those that are live, the most urgent first.

    A retired one is wanted as long as an unfinished job or a trial uses it, and a little longer: who asked just before
    may come.
    """
    used = f"({USED} OR {TRIED})" if has_table(cursor, "trials") else USED
    cursor.execute(
        "SELECT m.id, m.name, m.version, m.digest, m.archive_sha256, m.archive_bytes, m.live, m.failed, "
        f"{used} AS used FROM models m WHERE m.live = 1 OR (m.archive_sha256 IS NOT NULL AND (m.retired IS NULL "
        f"OR m.retired > CURRENT_TIMESTAMP(3) - INTERVAL %s SECOND OR {used})) "
        "ORDER BY m.live DESC, used DESC, m.id DESC",
        (UNLOADED_SECONDS,),
    )
    return [
        WantedVersion(
            row["id"],
            row["name"],
            row["version"],
            row["digest"],
            row["archive_sha256"] or "",
            int(row["archive_bytes"] or 0),
            bool(row["live"]),
            bool(row["used"]),
            row["failed"] or "",
        )
        for row in cursor.fetchall()
    ]


def tell(cursor: LedgerCursor, server: str, message: str, states: Mapping[int, ServingState]) -> None:
    """Say that an agent lives, and what its server has: all of it, in place of what was said before."""
    cursor.execute(
        "INSERT INTO servers (name, message) VALUES (%s, %s) "
        "ON DUPLICATE KEY UPDATE seen = CURRENT_TIMESTAMP(3), message = VALUES(message)",
        (server, shortened(message, MESSAGE_MAX)),
    )
    cursor.execute("SELECT model_id, state, message FROM servings WHERE server = %s", (server,))
    known = {row["model_id"]: ServingState(row["state"], row["message"]) for row in cursor.fetchall()}
    cut = {number: ServingState(each.state, shortened(each.message, MESSAGE_MAX)) for number, each in states.items()}
    for number in known.keys() - cut.keys():
        cursor.execute("DELETE FROM servings WHERE server = %s AND model_id = %s", (server, number))
    for number, state in sorted(cut.items()):
        if known.get(number) != state:
            cursor.execute(
                "INSERT INTO servings (server, model_id, state, message) VALUES (%s, %s, %s, %s) ON DUPLICATE KEY "
                "UPDATE state = VALUES(state), message = VALUES(message), changed = CURRENT_TIMESTAMP(3)",
                (server, number, state.state, state.message),
            )


def leave(cursor: LedgerCursor, server: str) -> None:
    """Remove a server, whose agent ends, and those that have been gone for long."""
    cursor.execute(
        "SELECT name FROM servers WHERE name = %s OR seen < CURRENT_TIMESTAMP(3) - INTERVAL %s SECOND",
        (server, GONE_SECONDS),
    )
    for row in cursor.fetchall():
        cursor.execute("DELETE FROM servings WHERE server = %s", (row["name"],))
        cursor.execute("DELETE FROM servers WHERE name = %s", (row["name"],))


def fail(cursor: LedgerCursor, version: WantedVersion, cause: str) -> None:
    """Say why an archive can't be loaded: nobody can promote its version until it is published again.

    What is live, or served by another, is sound: then only this server's own row says what is wrong.
    """
    if any(each.state == "served" for each in servers_of(cursor, version.id)):
        return
    cursor.execute(
        "UPDATE models SET failed = %s WHERE id = %s AND archive_sha256 = %s AND failed IS NULL AND live IS NULL",
        (shortened(cause, MESSAGE_MAX), version.id, version.sha256),
    )


def servers_of(cursor: LedgerCursor, model_id: int) -> list[ServingServer]:
    """Return the living servers, and how far each is with a version."""
    cursor.execute(
        "SELECT s.name AS server, COALESCE(g.state, 'absent') AS state, COALESCE(NULLIF(g.message, ''), s.message) "
        "AS message FROM servers s LEFT JOIN servings g ON g.server = s.name AND g.model_id = %s "
        f"WHERE s.{LIVING} ORDER BY s.name",
        (model_id,),
    )
    return [ServingServer(row["server"], row["state"], row["message"]) for row in cursor.fetchall()]


def why_not_served(cursor: LedgerCursor, model_id: int) -> str:
    """Return who doesn't serve a published version yet, and why; empty if every living server does."""
    servers = servers_of(cursor, model_id)
    if not servers:
        return (
            "no TorchServe with an agent is there: is SLUICE_MODEL_STORE set for them, and do they reach the database?"
        )
    missing = [each for each in servers if each.state != "served"]
    if not missing:
        return ""
    told = "; ".join(f"{each.server}: {each.message or each.state}" for each in missing[:3])
    return f"{len(servers) - len(missing)} of {len(servers)} serve it ({told})"
