"""Shared fixtures: a real broker for a file, one to kill per test, a bus in a namespace of its own."""

from __future__ import annotations

import contextlib
import gc
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.patience import until_seen
from tidemill.kernel.jetstream import guard
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_START_LIMIT = 10.0
# Where the tests run in the background of a shell script, Ctrl-C is ignored, and by all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Loaded machines are slow, which is no fault of what is tested.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("usual"), max_examples=2000)
if settings.get_current_profile_name() == "default":  # in CI it is Hypothesis's own, the same each time
    settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let more be killed, and asked, than CI has the time for."""
    parser.addoption("--kills", default="8", help="how many workers a crash test of durable runs kills")
    parser.addoption("--api-examples", default="12", help="how many requests are made up for an operation")


def pytest_collection_finish() -> None:
    """Spare Python's collector all modules and tests, which stay to the end."""
    gc.collect()
    gc.freeze()


def free_port() -> int:
    """Return a port that nobody listens on, from below those that the kernel hands out.

    One of the kernel's own might be given to another process of the tests before it is listened on.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class BrokerProcess:
    """A nats-server on a fixed port with its store in a directory; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = folder / "nats.conf"
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\npid_file: "{folder}/nats.pid"\nlog_file: "{folder}/nats.log"\n'
            # Namespaces reserve their streams' limits, and there are many of them: more than a disk has.
            f'jetstream {{ store_dir: "{folder}/store", max_file_store: 100TB }}\n'
        )
        self._pid_file = folder / "nats.pid"
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return int(self._pid_file.read_text())

    def start(self) -> None:
        binary = Path(sys.executable).with_name("nats-server")
        command = [sys.executable, "-I", "-S", guard.__file__, str(binary), "-c", str(self._config)]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "nats-server does not start"
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """Kill it with SIGKILL and wait until it is gone."""
        assert self._guard is not None
        self.signal(signal.SIGKILL)
        self._guard.communicate(timeout=10)

    def signal(self, number: signal.Signals) -> None:
        subprocess.run(["/bin/kill", f"-{number.name.removeprefix('SIG')}", str(self.pid)], check=True)
        if number is signal.SIGSTOP:  # its threads may run on until the one that is told has had its turn
            until_seen(self._frozen)

    def _frozen(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return all((thread / "stat").read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)

    def stop(self) -> None:
        if self._guard is not None:
            self._guard.communicate(timeout=15)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One broker for all tests of a file that don't hurt it; each works in a namespace of its own.

    Namespaces stay when their tests are over, and each costs whatever comes after it in the same broker:
    behind 350 of them another one took it 290 ms of CPU time and not 40, and they filled 640 MB of memory.
    """
    process = BrokerProcess(tmp_path_factory.mktemp("broker"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker for one test, to be killed and started again."""
    process = BrokerProcess(tmp_path)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def names() -> Names:
    """A fresh namespace."""
    return Names(f"t{secrets.token_hex(4)}")


@pytest.fixture
async def bus(broker: BrokerProcess, names: Names) -> AsyncIterator[Bus]:
    """A connected bus; the streams of its namespace are deleted at the end."""
    connected = await Bus.connect([broker.url], names=names, name="test")
    yield connected
    answer = await connected.api("STREAM.NAMES", {})
    for stream in answer["streams"] or []:
        if f"{names.namespace}_" in stream:
            await connected.api(f"STREAM.DELETE.{stream}")
    await connected.close()
