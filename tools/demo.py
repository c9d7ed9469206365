"""The whole of Sluice on this machine, with a bucket of sample photos: `scripts/demo` runs this."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sluice.errors import SluiceError
from sluice.ledger import Database, query
from sluice.ledger.query import StatementResult
from tools.cache import cache_folder
from tools.contact_sheet import write_contact_sheet
from tools.photos import bad_files, photos
from tools.stack import Servers, Stack, StackError, Supervisor, free_port, orderly_end
from tools.stack.workers import start_all

MODEL: Final = "efficientnet-lite0"
BUCKET: Final = "photos"
PHOTOS: Final = 310
PAGE_PORT: Final = 8000
"""The page's port, unless it is in use."""
BEST: Final = "SELECT url, label, ROUND(score, 3) AS score, model FROM results ORDER BY score DESC, url LIMIT 10"
ALL: Final = "SELECT url, label, score FROM results ORDER BY score DESC, url"
TO_TRY: Final = (
    "SELECT label, COUNT(*) AS photos FROM results GROUP BY label ORDER BY photos DESC LIMIT 10;",
    "SELECT url, label, score FROM results WHERE label LIKE '%cat%' ORDER BY score DESC;",
    "SELECT * FROM images WHERE flag = 0;          -- what has no prediction, and why",
    "SELECT * FROM job_progress;",
)
IDLE_SECONDS: Final = 0.5
INTERRUPTED: Final = 130
"""The shell's exit code for Ctrl-C."""


class Demo:
    """One run, which prints its steps."""

    def __init__(self, console: Console, count: int = PHOTOS) -> None:
        self._console = console
        self._count = count
        self._ended = threading.Event()
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        """Print a finished step, with the time since the start."""
        self._console.print(Text(f"[{time.monotonic() - self._begun:5.1f} s] ", "dim") + Text(text), soft_wrap=True)

    def run(self, *, stay: bool, output: Path) -> int:
        """Run all steps; with `stay`, keep running until Ctrl-C."""
        with ThreadPoolExecutor(1) as maker, self._ending(), self._servers() as servers:
            making = maker.submit(lambda: (self._photos(), dict(bad_files())))
            self.say(f"starting a database, an S3 server and TorchServe in {servers.folder}, on free ports")
            servers.start()
            store = f"file://{servers.folder}/published/"
            with Stack(servers, log_level="info", model_store=store) as stack:
                self.say(f"the database has its tables, {MODEL} is registered and live")
                return self._show(stack, making, stay=stay, output=output)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Make no more photos than were made when this ends, so that Ctrl-C waits for none."""
        try:
            yield
        finally:
            self._ended.set()

    def _photos(self) -> dict[str, bytes]:
        made = {}
        with contextlib.closing(photos(self._count)) as found:
            for key, data in found:
                if self._ended.is_set():
                    break
                made[key] = data
        return made

    def _servers(self) -> Servers:
        return Servers(models=[MODEL], torchserve_workers=None, has_agent=True, say=self.say)

    def _show(
        self, stack: Stack, making: Future[tuple[dict[str, bytes], dict[str, bytes]]], *, stay: bool, output: Path
    ) -> int:
        good, bad = making.result()
        stack.servers.s3.fill(BUCKET, {**good, **bad}.items())
        self.say(f"bucket s3://{BUCKET} has {len(good)} different photos and {len(bad)} bad files")
        stack.start_workers(consumers=2)
        start_all(stack.add_agent(stack.servers.torchserve))
        self.say("one producer, two consumers and the agent beside TorchServe are ready")
        gateway = stack.start_gateway(
            gateway_bind=f"127.0.0.1:{free_port(PAGE_PORT)}",
            gateway_anonymous="user",
            gateway_classic=True,
            gateway_sources=f"s3://{BUCKET}/",
        )
        self.say(f"the page is {gateway.url}/ and asks nobody to sign in; the API is described at {gateway.url}/docs")
        self.say(f"its admin, for this run: {stack.settings.gateway_admin}, password {stack.admin_password}")

        with Supervisor((*stack.workers, *stack.servers.all), self.say, output.parent) as supervisor:
            return self._classify(stack, supervisor, good, stay=stay, output=output)

    def _classify(
        self, stack: Stack, supervisor: Supervisor, good: dict[str, bytes], *, stay: bool, output: Path
    ) -> int:
        command = ["sluice", "submit", f"s3://{BUCKET}", "--wait"]
        self.say(f"$ {' '.join(command)}")
        code = self._sluice(stack, supervisor, *command[1:])
        if code != 0:
            self._console.print(stack.log_tails(), markup=False, highlight=False)
            return code
        self.say("every object has its row")

        self._console.print(f"\nThe ten best: [bold]{BEST};", soft_wrap=True)
        self._table(self._query(stack, BEST))
        self._console.print("\nThe bad files, and why they are in quarantine:", style="bold")
        self._sluice(stack, supervisor, "quarantine", "list", "last")
        prefix = f"s3://{BUCKET}/"
        rows = [(str(url), str(label), float(str(score))) for url, label, score in self._query(stack, ALL).rows]
        entries = [(good[url.removeprefix(prefix)], label, score) for url, label, score in rows]
        write_contact_sheet(output, f"{len(entries)} photos as {MODEL} sees them, the surest first", entries)
        self.say(f"contact sheet: {output}")
        if stay:
            # From here on Ctrl-C is the normal end.
            with contextlib.suppress(KeyboardInterrupt):
                self._stay(stack, supervisor)
        return 0

    def _sluice(self, stack: Stack, supervisor: Supervisor, *arguments: str) -> int:
        """Run the command like a person, with the stack's settings."""
        program = Path(sys.executable).parent / "sluice"
        environment = {"COLUMNS": str(self._console.width), **stack.environment}
        process = subprocess.Popen([program, *arguments], env=environment)
        try:
            while process.poll() is None:
                supervisor.check()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(IDLE_SECONDS)
        finally:
            process.kill()
            process.wait()
        return process.returncode

    def _query(self, stack: Stack, sql: str) -> StatementResult:
        """Ask the database, which may be starting again."""
        with Database(stack.settings) as database:
            return database.run(query.ask, sql)

    def _table(self, said: StatementResult) -> None:
        table = Table(*said.columns)
        for row in said.rows:
            table.add_row(*(str(value) for value in row))
        self._console.print(table)

    def _stay(self, stack: Stack, supervisor: Supervisor) -> None:
        """Keep running, so that people can look around."""
        client = stack.servers.folder / "client.cnf"
        stack.servers.database.write_client_file(client, stack.database)
        environment = stack.servers.folder / "env"
        stack.write_environment(environment)
        lines = [
            "",
            "All of it stays up until Ctrl-C, which removes it. Drop pictures of your own here:",
            "",
            f"  {stack.gateways[0].url}/",
            f"    as admin: {stack.settings.gateway_admin}, password {stack.admin_password}",
            "",
            "To look around, in another terminal:",
            "",
            f"  {'mariadb' if shutil.which('mariadb') else 'mysql'} --defaults-extra-file={client}",
            *(f"    {sql}" for sql in TO_TRY),
            "",
            f"  source {environment}; {Path(sys.executable).parent / 'sluice'} status",
            "    (and `sluice models publish FILE.mar --promote` for a model of your own: docs/models.md;",
            f"    `{sys.executable} -m trainer &` before `sluice train`)",
            f"  curl -F file=@some-photo.jpg {stack.gateways[0].url}/api/v1/predictions",
            f"  curl -T some-photo.jpg {stack.servers.torchserve.address}/predictions/{MODEL}",
            f"  curl {stack.consumers[0].metrics_url}",
            f"  kill -9 {stack.consumers[0].pid}     # or any other part: it is started again, and nothing is lost",
        ]
        self._console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
        while True:
            supervisor.check()
            time.sleep(IDLE_SECONDS)


def main() -> int:
    """Run the demo; Ctrl-C ends it cleanly."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Start all of Sluice on this machine, classify a bucket of sample photos, show the rows.",
        epilog="It needs no other server and touches none; nothing of it is left but the contact sheet.",
    )
    parser.add_argument("--once", action="store_true", help="end after the results (so it does without a terminal)")
    parser.add_argument("--photos", type=int, default=PHOTOS, help="how many (default: %(default)s)")
    sheet = cache_folder() / "demo" / "contact-sheet.png"
    parser.add_argument(
        "--output", type=Path, default=sheet, help="where the contact sheet goes (default: %(default)s)"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False)
    stay = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.once
    try:
        with orderly_end():
            code = Demo(console, arguments.photos).run(stay=stay, output=arguments.output.absolute())
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (StackError, SluiceError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if stay or code == INTERRUPTED:
        print("\nstopped; nothing is left running")
    return code


if __name__ == "__main__":
    sys.exit(main())
