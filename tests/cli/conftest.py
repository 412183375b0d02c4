"""Fixtures of the command line's tests: commands in this process, services in their own, a running mill."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tidemill.cli import main

PATIENCE = 40.0
SETTINGS = """\
[gateway]
listen = "127.0.0.1:8080"
[nats]
durability = "os"
[sources.github]
preset = "github"
secrets = ["one of them", {value = "an old one", until = 2020-01-01T00:00:00Z}]
[sources.stripe]
preset = "stripe"
secrets = ["whsec_mill"]
keep_refused = true
[destinations.crm]
url = "http://127.0.0.1:9/token-in-the-path"
on = ["crm.>"]
allow_private = true
[sources.desk]
learn = true
tenants = true
[sources.desk.recipe]
verify = { signature = { at = "header:X-Sig" } }
handshake = { name = "hook", when = { "header:X-Hook" = true }, learn = "header:X-Hook" }
"""
TASKS = '''\
"""Tasks of the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidemill import Abort, Context, Retry, task


@dataclass
class Push:
    ref: str
    after: str


@task(on="github.push")
async def announce(push: Push, ctx: Context) -> str:
    ctx.log.info("announcing")
    return push.after[:7]


@task(on="github.push", where="data.ref == 'refs/heads/elsewhere'")
async def elsewhere(push: Push) -> None: ...


@task(on="github.issues.opened", where="data.issue.number > data.issue.missing")
async def puzzled(event: dict[str, object]) -> None: ...


@task(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.01))
async def mend(name: str) -> str:
    if not Path(name).exists():
        raise FileNotFoundError(name)
    return "mended"


@task
async def doomed(number: int) -> None:
    raise Abort(f"no {number}")


@task
async def ship(ctx: Context) -> dict[str, object]:
    word = await ctx.wait_for_signal("word", str, timeout="1h")
    said = await ctx.wait_for_approval("go", timeout="1h", approvers=["ann"])
    address = await ctx.token("address", str, timeout="1h")
    return {"word": word, "by": said.by, "approved": said.approved, "address": address}
'''


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Call = Callable[..., Result]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Runs a command in this process, as the entry point would."""
    if not main.app.registered_groups:
        main.register()
    monkeypatch.setattr(main, "register", lambda: None)

    def run(*words: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["tidemill", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main.run()
        sys.stdout.flush()
        captured = capfd.readouterr()
        return Result(int(caught.value.code or 0), captured.out, captured.err)

    handlers, level = logging.root.handlers[:], logging.root.level
    yield run
    logging.root.handlers[:], logging.root.level = handlers, level
    logging.captureWarnings(capture=False)


@dataclass
class Service:
    """A command that serves, in a process of its own; its output is kept line by line."""

    words: tuple[str, ...]
    folder: Path
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tidemill.cli.main", *self.words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._arrivals: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="read a service", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._arrivals.put(line.rstrip("\n"))
        self._arrivals.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first new line that fits."""
        while True:
            try:
                line = self._arrivals.get(timeout=PATIENCE)
            except queue.Empty:
                line = None
            assert line is not None, f"no {pattern!r} in:\n" + "\n".join(self.lines)
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def addresses(self) -> tuple[str, str]:
        """Wait until a `tidemill dev` is ready; return the URLs of its control and its public listener."""
        control = self.wait_for(r"control API  (http://\S+)/api/v1")[1]
        if not any(" serves " in line for line in self.lines):
            self.wait_for(" serves ")
        (shown,) = [found for line in self.lines if (found := re.search(r"(http://\S+)/webhooks", line))][:1]
        return control, shown[1]

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal, wait for the end and return the exit code; what is left to read is kept."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        while not self._arrivals.empty():
            self.lines.append(self._arrivals.get() or "")
        return code

    def descendants(self) -> list[int]:
        """Return the processes that it has started, and those that they have."""
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        parents = {pid: _parent(pid) for pid in pids}
        found, fresh = [], {self.process.pid}
        while fresh := {pid for pid, parent in parents.items() if parent in fresh}:
            found += sorted(fresh)
        return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture
def gone() -> Callable[[list[int]], bool]:
    """Says whether all of some processes come to their ends in time."""

    def wait(pids: list[int]) -> bool:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                descriptor = os.pidfd_open(pid)
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                ended = poll.poll(PATIENCE * 1000)
                os.close(descriptor)
                if not ended:
                    return False
        return True

    return wait


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services in the test's folder and ends those that still run."""
    started: list[Service] = []

    def start(*words: str) -> Service:
        started.append(Service(words, tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with settings and tasks, which is the working directory."""
    return _write(tmp_path, monkeypatch)


def _write(folder: Path, monkeypatch: pytest.MonkeyPatch | None = None) -> Path:
    (folder / "tidemill.toml").write_text(SETTINGS)
    (folder / "tasks.py").write_text(TASKS)
    if monkeypatch is not None:
        monkeypatch.chdir(folder)
    return folder


@dataclass(frozen=True)
class Mill:
    """A running `tidemill dev`."""

    folder: Path
    public: str
    control: str


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """One mill for all tests that don't hurt it."""
    folder = _write(tmp_path_factory.mktemp("mill"))
    dev = Service(("dev", "tasks.py", "--port", "0", "--no-reload"), folder)
    try:
        control, public = dev.addresses()
        yield Mill(folder, public, control)
    finally:
        assert dev.end() == 0, "\n".join(dev.lines)


@pytest.fixture
def mill(running: Mill, monkeypatch: pytest.MonkeyPatch) -> Mill:
    """The running mill, whose folder is the working directory."""
    monkeypatch.chdir(running.folder)
    return running


@pytest.fixture(params=["direct", "http"])
def way(request: pytest.FixtureRequest, mill: Mill) -> tuple[str, ...]:
    """The global options of either way to the running mill."""
    return ("--url", mill.control) if request.param == "http" else ()
