"""The real thing for tests: `tidemill dev` on handler modules, with a broker and a folder of its own.

    @pytest.fixture(scope="session")
    def mill() -> Iterator[Mill]:
        with running("tasks.py") as mill, use_everywhere(mill.client()):
            yield mill

Everything is executed in other processes, as in production.
"""

from __future__ import annotations

import contextlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemill.client import Client
from tidemill.kernel.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_SHOWN: Final = 30
_PUBLIC: Final = re.compile(r"webhooks +(http://\S+?)/webhooks/")
_CONTROL: Final = re.compile(r"control API +(http://\S+?)/api/")


@dataclass
class Mill:
    """A running installation.

    Attributes:
        public_url: where webhooks and events are posted to; empty where the settings have no source.
        control_url: of the control API.
        lines: what it has said so far.
    """

    public_url: str = ""
    control_url: str = ""
    lines: list[str] = field(default_factory=list)

    def client(self) -> Client:
        """Return a client that reaches it."""
        return Client.http(self.control_url)


@contextlib.contextmanager
def running(*modules: str, folder: Path | str = ".", settings: str = "") -> Iterator[Mill]:
    """Run broker, gateway, worker and engine on handler modules; yield when they are served.

    Args:
        *modules: as `tidemill dev` takes them.
        folder: the working directory, from which they are imported.
        settings: what stands in its `tidemill.toml`; ports and data directory are its own.

    Raises:
        ConflictError: it doesn't start; the sentence holds what it has said.
    """
    with tempfile.TemporaryDirectory(prefix="tidemill-") as own:
        config = Path(own) / "tidemill.toml"
        config.write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "tidemill.cli.main", "--config", str(config)]
        process = subprocess.Popen(
            [*command, "dev", *modules, "--port", "0", "--no-reload"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with _stopped(process), _reading(process) as said:
            yield _started(said)


def _started(said: queue.SimpleQueue[str | None]) -> Mill:
    """Wait until the listeners stand and the tasks are served."""
    mill, served = Mill(), False
    deadline = time.monotonic() + _START_SECONDS
    while not (mill.control_url and served):
        try:
            line = said.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            line = None
        if line is None:
            raise ConflictError(
                "tidemill dev doesn't start:\n" + "".join(mill.lines[-_SHOWN:]),
                hint="try the same command by hand",
            )
        mill.lines.append(line)
        served = served or " serves " in line
        if found := _PUBLIC.search(line):
            mill.public_url = found[1]
        if found := _CONTROL.search(line):
            mill.control_url = found[1]
    return mill


@contextlib.contextmanager
def _stopped(process: subprocess.Popen[str]) -> Iterator[None]:
    """Stop a process at the end, in order where it lets itself be stopped."""
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _reading(process: subprocess.Popen[str]) -> Iterator[queue.SimpleQueue[str | None]]:
    """Read what a process says, line by line and to its end, so that it never waits to be read."""
    said = queue.SimpleQueue[str | None]()
    output = process.stdout
    if output is None:
        raise AssertionError("its output is a pipe")

    def read() -> None:
        with output:
            for line in output:
                said.put(line)
        said.put(None)

    reader = threading.Thread(target=read, name="read tidemill dev", daemon=True)
    reader.start()
    yield said
