"""One role's attack in a process of its own: schemathesis over the whole OpenAPI; prints JSON.

Its hooks are the process's, so each role has its own. Whether a request that fits the description is accepted isn't
asked: no schema says which cursors, archives and sources there are.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from collections import Counter
from contextlib import chdir, redirect_stdout
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.cli import schemathesis as command

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
)
CLOSED_CHECKS: Final = ("ignored_auth",)
"""Where strangers may do nothing."""
ENDING: Final = frozenset({"PATCH", "PUT", "DELETE"})
NOBODY: Final = 999_999_999
"""A number that no account and no token has."""
SHARED: Final = frozenset({"/api/v1/uploads/{name}", "/api/v1/uploads/{upload_id}"})
"""PUT by an archive's name and GET by an upload's id: to a server one path, which takes both methods."""
ACCEPTED: Final = "AcceptedNegativeData"
"""The answer 413 counts as this, too, where a request is too large and wrong besides."""
METHODS: Final = frozenset({"AllowHeaderMismatch", "UnsupportedMethodResponse"})
TIMEOUT_SECONDS: Final = 30
SHOWN: Final = 20_000
PIXEL: Final = bytes.fromhex("474946383961010001008000000000ffffff21f90401000000002c00000000010001000002024401003b")


class AnswerCount:
    """What was answered, by status, and which operations ever did what they are for."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.accepted: Counter[str] = Counter()

    def add(self, operation: str, status: int) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status < 400:  # noqa: PLR2004 - from there on requests are refused
            self.accepted[operation] += 1


def archives() -> st.SearchStrategy[bytes]:
    """Return zips with a picture or two, and texts in between."""
    contents = st.one_of(st.just(PIXEL), st.binary(max_size=64))
    # zipfile cuts a name at a zero byte, and takes no empty one.
    names = st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("\0"))
    return st.dictionaries(names, contents, max_size=4).map(_zipped)


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.encode(errors="replace").decode(), data)
    return buffer.getvalue()


def prepare(own: frozenset[str]) -> AnswerCount:
    """Teach schemathesis what archives are and which paths would end the attacker; return what counts its answers."""
    count = AnswerCount()
    schemathesis.openapi.media_type("application/zip", archives())

    @schemathesis.hook
    def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ANN401 - schemathesis doesn't export its types
        """Keep the attacker alive: one whose token is gone meets one closed door everywhere.

        `filter_case` comes too early: ids that were answered before are put in afterwards.
        """
        del context, kwargs
        if case.method.upper() in ENDING and case.formatted_path in own:
            case.path_parameters = dict.fromkeys(case.path_parameters, NOBODY)

    @schemathesis.hook
    def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:  # noqa: ANN401 - the same
        """Take no offence at the methods of a path that two operations share, nor at 413 as a refusal.

        And an empty parameter is one that wasn't given, as forms send it.
        """
        del context
        kind = type(failure).__name__
        is_harmless = response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or "" in (case.query or {}).values()
        return not ((kind == ACCEPTED and is_harmless) or (case.operation.path in SHARED and kind in METHODS))

    @schemathesis.hook
    def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ANN401 - the same
        del context
        count.add(case.operation.label, response.status_code)

    return count


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Attack; return what was asked, what was answered and what was breached."""
    count = prepare(frozenset(arguments.own))
    report = Path(arguments.report)
    checks = CHECKS if arguments.open else (*CHECKS, *CLOSED_CHECKS)
    options = ["run", f"{arguments.url}/openapi.json", "--checks", ",".join(checks), "--phases", arguments.phases]
    options += ["--max-examples", str(arguments.examples), "--request-timeout", str(TIMEOUT_SECONDS), "--no-color"]
    options += ["--seed", str(arguments.seed), "--continue-on-failure", "--warnings", "off", "--no-shrink"]
    options += ["--suppress-health-check", "all", "--report", "json", "--report-json-path", str(report)]
    # Credentials are the attacker's own or none: those that are made up meet 401 before anything else.
    options += ["--generation-database", "none", "--generation-with-security-parameters", "false"]
    if arguments.token:
        options += ["--header", f"Authorization: Bearer {arguments.token}"]
    said = io.StringIO()
    # schemathesis leaves notes of its own where it runs.
    with redirect_stdout(said), chdir(report.parent):
        try:
            command(options, standalone_mode=False)
        except SystemExit as end:
            code = end.code
        else:
            code = 0
    found: dict[str, Any] = json.loads(report.read_text())
    breaches = [{key: each[key] for key in ("title", "count", "operations")} for each in found["failures"]]
    breaches += [{**each, "operations": []} for each in found["errors"]]
    return {
        "requests": count.statuses.total(),
        "statuses": dict(sorted(count.statuses.items())),
        "accepted": dict(sorted(count.accepted.items())),
        "operations": found["operations"]["tested"],
        "seconds": found["running_time"],
        "breaches": breaches,
        "said": said.getvalue()[-SHOWN:] if breaches or code else "",
    }


def main() -> None:
    """Read whom to attack as whom, attack, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.attack.fuzz", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", default="", help="of the attacker; none: a stranger")
    parser.add_argument("--own", nargs="*", default=[], help="paths that would end the attacker")
    parser.add_argument("--open", action="store_true", help="strangers may do something here")
    parser.add_argument("--phases", required=True)
    parser.add_argument("--examples", type=int, required=True, help="of each operation, where values are drawn")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--report", required=True, help="a file for schemathesis's own report")
    print(json.dumps(run(parser.parse_args())), file=sys.__stdout__)


if __name__ == "__main__":
    main()
