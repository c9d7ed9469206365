#!/usr/bin/env python3
"""Check this container's TorchServe: `sluice-probe startup|ready|live`; exits with 1 and a reason if it fails.

TorchServe's /ping succeeds even if a model's worker dies at each load, so the first two request predictions.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from handlers.agent.causes import cause_in_logs
from handlers.agent.memory import write_usage

WORK: Final = Path("/tmp/torchserve")  # noqa: S108 - the one place of a container that can be written to
MANAGEMENT_PORT: Final = 8081
SECONDS: Final = {"startup": 8.0, "ready": 4.0, "live": 8.0}
OK: Final = 200
BUSY: Final = 503
BATCH_TYPE: Final = "application/x-sluice-batch"
LEAST_ROOM: Final = 64 * 1024


def main() -> None:
    """Run the probe, and exit with its result."""
    which = sys.argv[1] if len(sys.argv) == 2 else ""  # noqa: PLR2004 - program and word
    if which not in SECONDS:
        sys.exit("usage: sluice-probe startup|ready|live")
    try:
        told = json.loads((WORK / "probes.json").read_text())
    except FileNotFoundError:
        sys.exit("sluice-serve hasn't written its probes yet")
    with contextlib.suppress(OSError):  # of a full disk the reasons below tell
        write_usage(WORK)
    if which == "live":
        status, said = ask(told["port"], "GET", "/ping", None, SECONDS["live"])
        if status is None:
            sys.exit(f"/ping: {said}")
        return
    # In parallel: one after the other, busy models would exceed kubelet's timeout.
    with ThreadPoolExecutor(len(told["models"])) as threads:
        reasons = list(threads.map(lambda model: why_not(model, told["port"], which), told["models"]))
    failing = [
        f"{Path(model['archive']).name}: {why}" for model, why in zip(told["models"], reasons, strict=True) if why
    ]
    if failing:
        sys.exit("; ".join(failing))


def why_not(model: dict[str, str], port: int, which: str) -> str:
    """Return why a model doesn't predict; empty if all its workers do, or (once started) if it is only busy."""
    if not model["path"]:
        return "wasn't made by scripts/build-model: it has no model.json"
    body = Path(model["batch"]).read_bytes()
    status, said = ask(port, "POST", f"/predictions/{model['path']}", body, SECONDS[which])
    states = {"READY"} if status == OK and which == "ready" else workers(model["path"])
    state = ", ".join(sorted(states)) or "missing"
    if status == OK:
        return "" if states == {"READY"} else f"one worker predicts, others are {state}"
    if which == "ready" and status in {BUSY, None} and "READY" in states:
        return ""
    cause = full_disk() or cause_in_logs(WORK / "logs")
    return f"no prediction ({status or said}); its worker is {state}" + (f"; {cause}" if cause else "")


def workers(path: str) -> set[str]:
    """Return the states of a model's workers."""
    status, said = ask(MANAGEMENT_PORT, "GET", f"/models/{path}", None, SECONDS["ready"])
    if status != OK:
        return {"unknown"}
    described: list[dict[str, Any]] = json.loads(said)
    return {worker["status"] for version in described for worker in version["workers"]}


def full_disk() -> str:
    """Return a message if the disk for models and logs is full, since logs can't say so then."""
    room = os.statvfs(WORK)
    if room.f_bavail * room.f_frsize >= LEAST_ROOM and (room.f_favail or not room.f_files):
        return ""
    return f"the disk of {WORK} is full: make room on the node, or raise the volume's size limit"


def ask(port: int, method: str, path: str, body: bytes | None, seconds: float) -> tuple[int | None, str]:
    """Return the status and the body of an answer, or no status and the error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request(method, path, body, {"Content-Type": BATCH_TYPE})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return None, str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    main()
