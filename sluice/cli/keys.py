"""`sluice keys`: a new CURVE key pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from sluice.cli.screen import safe
from sluice.errors import ConfigurationError

EXAMPLES: Final = """\
Examples:

  sluice keys producer.key    for a producer: SLUICE_CURVE_KEY=producer.key
  sluice keys consumer.key    for a consumer; the producers need its .pub"""


def keys(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="File for the secret key; the public key goes to PATH.pub.")
    ],
) -> None:
    """Generate a CURVE key pair, to encrypt and authenticate traffic between producers and consumers."""
    from sluice.protocol.keys import make_keys  # noqa: PLC0415 - brings ZeroMQ

    try:
        made = make_keys(path)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}: name another file") from error
    print(f"secret key: {safe(path)} (set SLUICE_CURVE_KEY to it, and keep it secret)")
    print(f"public key: {safe(path)}.pub: {made.public.decode()}")
    print("a producer's public key goes to consumers as SLUICE_CURVE_SERVER")
    print("a consumer's .pub file goes into the producers' folder SLUICE_CURVE_CLIENTS")
