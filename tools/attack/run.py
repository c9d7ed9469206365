"""Attack the gateway's API as each role with what schemathesis makes of its OpenAPI, and print what came of it.

A stranger, a viewer, a user and an admin each send at least so many requests: to all operations, with what they take
and with what they don't. An answer of 500, or one that the API's description doesn't have, is a breach.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import requests

from tools.attack.house import ROLES, Attacker, RoleOf, furnish
from tools.stack import ROOT, Servers, Stack, orderly_end

LEAST: Final = 10_000
ROUNDS_MAX: Final = 40
EXAMPLES: Final = 100
PHASES: Final = "examples,coverage,fuzzing,stateful"
AGAIN: Final = "fuzzing,stateful"
"""What a second round adds: the other phases would send the same again."""
ROUND_SECONDS: Final = 3600.0
TIMEOUT_SECONDS: Final = 30.0
HEADS: Final = ("role", "requests", "seconds", "operations", "accepted", "500", "503", "breaches")


def say(text: str) -> None:
    """Say what is under way, beside the output."""
    print(f"attack: {text}", file=sys.stderr, flush=True)


def attack_once(attacker: Attacker, phases: str, examples: int, seed: int) -> dict[str, Any]:
    """Run one round in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="sluice-attack-") as folder:
        command = [sys.executable, "-m", "tools.attack.fuzz", "--url", attacker.gateway.url, "--phases", phases]
        command += ["--examples", str(examples), "--seed", str(seed), "--report", str(Path(folder) / "report.json")]
        command += ["--open"] if attacker.is_stranger else ["--token", attacker.token, "--own", *attacker.own]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, timeout=ROUND_SECONDS)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def attack(attacker: Attacker, least: int, seed: int, examples: int = EXAMPLES, phases: str = PHASES) -> dict[str, Any]:
    """Attack in rounds, each by another seed, until so many requests were sent; say whether the attacker lives."""
    found = attack_once(attacker, phases, examples, seed)
    for number in range(1, ROUNDS_MAX):
        if found["requests"] >= least or found["breaches"]:
            break
        found = _added(found, attack_once(attacker, AGAIN, examples, seed + 1000 * number))
    if not attacker.is_stranger and (said := _who(attacker)) != attacker.role:
        found["breaches"].append({"title": f"the attacker is {said} at the end: the attack met closed doors"})
    return found


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        "requests": one["requests"] + other["requests"],
        "seconds": one["seconds"] + other["seconds"],
        "operations": max(one["operations"], other["operations"]),
        "statuses": _sums(one["statuses"], other["statuses"]),
        "accepted": _sums(one["accepted"], other["accepted"]),
        "breaches": one["breaches"] + other["breaches"],
        "said": one["said"] + other["said"],
    }


def _sums(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def _who(attacker: Attacker) -> str:
    """Return what role the attacker has, as the gateway says it."""
    headers = {"Authorization": f"Bearer {attacker.token}"}
    answer = requests.get(f"{attacker.gateway.url}/api/v1/users/me", headers=headers, timeout=TIMEOUT_SECONDS)
    return str(answer.json()["role"]) if answer.ok else f"answered {answer.status_code}"


def print_table(results: dict[RoleOf, dict[str, Any]]) -> None:
    """Print a row a role, then how often each status was answered, then the breaches."""
    print("  ".join(f"{head:>{max(8, len(head))}}" for head in HEADS))
    for role, found in results.items():
        cells = (
            role,
            found["requests"],
            f"{found['seconds']:.0f}",
            found["operations"],
            len(found["accepted"]),
            found["statuses"].get("500", 0),
            found["statuses"].get("503", 0),
            len(found["breaches"]),
        )
        print("  ".join(f"{cell:>{max(8, len(head))}}" for head, cell in zip(HEADS, cells, strict=True)))
    for role, found in results.items():
        print(f"{role}: " + ", ".join(f"{status}: {count}" for status, count in found["statuses"].items()))
    for role, found in results.items():
        for breach in found["breaches"]:
            print(f"{role}: {breach}")
        if found["breaches"]:
            print(found["said"])


def read_roles(text: str) -> list[RoleOf]:
    """Read `user,admin`, in the order that keeps all of them alive."""
    wanted: Iterable[str] = text.split(",")
    if strange := set(wanted) - set(ROLES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(strange))}: the roles are {', '.join(ROLES)}")
    return [role for role in ROLES if role in wanted]


def main() -> None:
    """Attack, print, and fail where something was breached."""
    parser = argparse.ArgumentParser(
        prog="scripts/attack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: scripts/attack --roles user --requests 2000 --seed 7",
    )
    parser.add_argument("--roles", type=read_roles, default=list(ROLES), help=f"default: {','.join(ROLES)}")
    parser.add_argument("--requests", type=int, default=LEAST, help="of each role, at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="makes the requests (default: %(default)s)")
    arguments = parser.parse_args()
    results: dict[RoleOf, dict[str, Any]] = {}
    with orderly_end(), Servers(models=["noop"], say=say) as servers:
        servers.start()
        with Stack(servers, "attack") as stack:
            attackers = furnish(stack)
            for role in arguments.roles:
                say(f"as {role}: {arguments.requests} requests or more")
                results[role] = attack(attackers[role], arguments.requests, arguments.seed)
                print_table({role: results[role]})
    if len(results) > 1:
        print_table(results)
    sys.exit(1 if any(found["breaches"] for found in results.values()) else 0)


if __name__ == "__main__":
    main()
