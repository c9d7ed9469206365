"""All commands together, and how they end: exit codes, errors in a sentence, Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from sluice import __version__
from sluice.cli import (
    check,
    database,
    diff,
    drift,
    jobs,
    keys,
    models,
    quarantine,
    results,
    selftest,
    sql,
    status,
    submit,
    train,
    trainings,
    upload,
    users,
)
from sluice.cli import config as config_command
from sluice.cli.screen import complain
from sluice.errors import (
    ConfigurationError,
    EndpointDown,
    LedgerUnavailable,
    ObjectError,
    SluiceError,
    SourceError,
    TablesMissing,
)
from sluice.starting import INTERRUPTED

NOT_SO: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3

EXAMPLES: Final = """\
A first round:

  sluice db upgrade
  sluice models register efficientnet-lite0.mar --promote
  sluice upload ./2024 s3://photos/2024/
  sluice submit s3://photos/2024/ --wait
  sluice results last --limit 10

Exit codes:

  0    success
  1    a negative result: a job failed, an invariant is broken
  2    wrong usage or setting
  3    database, its tables, source or TorchServe missing or unreachable
  130  stopped with Ctrl-C

Settings come from the environment (SLUICE_...) or from the file that
SLUICE_CONFIG names: `sluice config` shows them."""


class CommandGroup(TyperGroup):
    """Runs a command, and turns errors into a sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's own context has no public name
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SluiceError as error:
            _trace()
            complain(str(error), hint=_hint(error))
            raise typer.Exit(exit_code(error)) from None
        except BrokenPipeError:
            raise  # the reader (for example head) closed the pipe: typer ends quietly
        except OSError as error:
            _trace()
            complain(f"the system refuses: {error}", hint="a full disk or a missing permission is the usual cause")
            raise typer.Exit(NOT_SO) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def exit_code(error: SluiceError) -> int:
    """Return the exit code of an error; docs/operations.md lists them."""
    if isinstance(error, ConfigurationError):
        return USAGE
    if isinstance(error, ObjectError):
        return NOT_SO
    return UNREACHABLE if isinstance(error, LedgerUnavailable | TablesMissing | SourceError | EndpointDown) else NOT_SO


app = typer.Typer(
    cls=CommandGroup,
    name="sluice",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXAMPLES,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sluice {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Classify every image of a bucket once; leave one row per image in the database."""


app.command("upload", epilog=upload.EXAMPLES)(upload.upload)
app.command("submit", epilog=submit.EXAMPLES)(submit.submit)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("results", epilog=results.EXAMPLES)(results.results)
app.command("diff", epilog=diff.EXAMPLES)(diff.diff)
app.command("drift", epilog=drift.EXAMPLES)(drift.drift)
app.command("sql", epilog=sql.EXAMPLES)(sql.sql)
app.add_typer(jobs.app, name="jobs")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(models.app, name="models")
app.command("train", epilog=train.EXAMPLES)(train.train)
app.add_typer(trainings.app, name="trainings")
app.add_typer(users.app, name="users")
app.command("check", epilog=check.EXAMPLES)(check.check)
app.add_typer(database.app, name="db")
app.command("selftest", epilog=selftest.EXAMPLES)(selftest.selftest)
app.command("keys", epilog=keys.EXAMPLES)(keys.keys)
app.command("config", epilog=config_command.EXAMPLES)(config_command.config)


def main() -> None:
    """Run the command line; ends the process."""
    # Names from a bucket may contain characters that the terminal's encoding lacks; that must not fail the command.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="sluice")
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(NOT_SO)
    except OSError as error:
        # Python flushes buffers at exit. That would fail again, and the error is already reported.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"the output can't be written: {error.strerror}", hint="it is incomplete: free space and run it again")
        sys.exit(NOT_SO)


def _hint(error: SluiceError) -> str:
    if isinstance(error, LedgerUnavailable):
        return "`sluice config` shows the address that is asked; once the database answers, run the command again."
    if isinstance(error, SourceError) and exit_code(error) == UNREACHABLE:
        return "`sluice config` shows the endpoint and profile; once the source answers, run the command again."
    return ""


def _trace() -> None:
    """Print the traceback of an error if SLUICE_LOG_LEVEL is debug."""
    import traceback  # noqa: PLC0415 - only when something went wrong

    from sluice.settings import read_settings  # noqa: PLC0415 - the same

    with contextlib.suppress(ConfigurationError):
        if read_settings().log_level == "debug":
            traceback.print_exc()
