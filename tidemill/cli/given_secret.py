"""Secrets that are given to a command: never on the command line, which everybody on the machine can read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from tidemill.cli.invocation import invocation
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.settings.secrets import ENVIRONMENT, FILE, Secret, SecretRef

if TYPE_CHECKING:
    import typer

_INPUT: Final = "-"


def given_secret(context: typer.Context, where: str) -> Secret:
    """Return the secret from where it stands: `env:NAME`, `file:PATH`, or `-` for standard input.

    Raises:
        PayloadError: the secret itself was given.
        SettingsError: it can't be found there.
    """
    if where == _INPUT:
        return Secret(sys.stdin.read().rstrip("\r\n"))
    if where.startswith((ENVIRONMENT, FILE)):
        return SecretRef(where).resolve(invocation(context).settings().inputs.environ)
    raise PayloadError(
        "--secret isn't the secret itself: everybody on this machine could read it",
        hint="write env:NAME, file:PATH or - for standard input",
    )
