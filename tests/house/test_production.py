"""What `compose.yaml` runs, as plain processes: its commands, its mounted files, its environment.

Only addresses differ: free ports of this machine stand for the containers' own.
"""

from __future__ import annotations

import hmac
import json
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
import yaml

from tests.patience import until_seen
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.integration

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
PUSH: Final = (ROOT / "schemas" / "github" / "push" / "samples" / "branch.json").read_bytes()
PATIENCE: Final = 40.0
KEY: Final = create_key()
DOTENV: Final = {
    "NATS_PASSWORD": "007",
    "SECRET_KEY": "00" * 32,
    "GITHUB_WEBHOOK_SECRET": "a secret of GitHub's",
    "CONTROL_KEY_HASH": hash_key(KEY),
}
"""What an operator writes into `.env`; the password is one that the server must not read as a number."""


def environment(name: str) -> dict[str, str]:
    """Return a service's environment with its variables filled in, as compose does."""
    given: dict[str, str] = SERVICES[name]["environment"]
    fill = {key: re.sub(r"\$\{(\w+):\?[^}]+\}", lambda m: DOTENV[m[1]], text) for key, text in given.items()}
    return {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1", **fill}


@dataclass
class Container:
    """A service of compose.yaml, as a process in a folder with the files that it mounts."""

    name: str
    folder: Path
    changed: Mapping[str, str] = field(default_factory=dict)
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.lines: list[str] = []
        self.environ = environment(self.name) | dict(self.changed)
        self.process = subprocess.Popen(
            [*self.command(), *self.more],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._arrivals: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name=f"read {self.name}", daemon=True)
        self._reader.start()

    def command(self) -> list[str]:
        """Return entry point and command, with the mounted files where they are here."""
        service = SERVICES[self.name]
        words = [*service.get("entrypoint", ["tidemill"]), *service.get("command", [])]
        return [self.mounted().get(word, word) for word in words]

    def mounted(self) -> dict[str, str]:
        """Put the files of `configs` into the folder; return where each target is."""
        found = {}
        for entry in SERVICES[self.name]["configs"]:
            target = self.folder / Path(entry["target"]).name
            shutil.copyfile(ROOT / COMPOSE["configs"][entry["source"]]["file"], target)
            found[entry["target"]] = str(target)
        return found

    def healthy(self, port: str = "", actual: str = "") -> bool:
        """Say whether the health check of compose.yaml is content, with the actual port in it."""
        kind, *words = SERVICES[self.name]["healthcheck"]["test"]
        assert kind == "CMD"
        if port:
            assert any(f":{port}/" in word for word in words)
            words = [word.replace(f":{port}/", f":{actual}/") for word in words]
        checked = subprocess.run(
            words, cwd=self.folder, env=self.environ, capture_output=True, check=False, timeout=PATIENCE
        )
        return checked.returncode == 0

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first new line of its output that fits."""
        while True:
            line = self._arrivals.get(timeout=PATIENCE)
            assert line is not None, f"{self.name} ended without {pattern!r}:\n" + "\n".join(self.lines)
            self.lines.append(line)
            if found := re.search(pattern, line):
                return found

    def stop(self) -> int:
        """Send SIGTERM, as the container engine does, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        grace = float(SERVICES[self.name]["stop_grace_period"].removesuffix("s"))
        code = self.process.wait(grace)
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._arrivals.put(line.rstrip("\n"))
        self._arrivals.put(None)


@dataclass
class Site:
    """All containers of the production shape, and where they are."""

    public: str
    control: str
    monitor: int
    containers: dict[str, Container]


@pytest.fixture
def site(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Site]:
    port, monitor = unused_tcp_port_factory(), unused_tcp_port_factory()
    started: dict[str, Container] = {}

    def start(key: str, name: str, *more: str, **changed: str) -> Container:
        folder = tmp_path / key
        folder.mkdir()
        started[key] = Container(name, folder, changed, more)
        return started[key]

    try:
        store = tmp_path / "store"
        store.mkdir()
        here = ("--addr", "127.0.0.1", "--port", str(port), "--http_port", str(monitor))
        broker = start("broker", "broker", *here, NATS_STORE=str(store))
        broker.wait_for("Server is ready")
        nats = {"TIDEMILL_NATS__URL": f"nats://127.0.0.1:{port}"}
        free = {"TIDEMILL_GATEWAY__LISTEN": "127.0.0.1:0", "TIDEMILL_CONTROL__LISTEN": "127.0.0.1:0"}
        gateway = start("gateway", "gateway", **nats, **free)
        start("engine", "engine", **nats).wait_for(r"^engine runs .*mailman, router, scheduler, sweeper$")
        for number in range(SERVICES["worker"]["deploy"]["replicas"]):
            start(f"worker {number}", "worker", **nats).wait_for(r"^worker \S+ serves announce$")
        public = gateway.wait_for(r"^public listener on (\S+)$")[1]
        yield Site(public, gateway.wait_for(r"^control listener on (\S+)$")[1], monitor, started)
    finally:
        for container in reversed(started.values()):
            container.stop()


def signed(body: bytes) -> dict[str, str]:
    secret = DOTENV["GITHUB_WEBHOOK_SECRET"].encode()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": "sha256=" + hmac.digest(secret, body, "sha256").hex(),
    }


def test_a_signed_push_becomes_a_completed_run_and_all_stop_in_order(site: Site) -> None:
    key = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for listener in (site.public, site.control):
            assert client.get(f"{listener}/readyz").status_code == 200
        refused = client.post(f"{site.public}/webhooks/github", content=PUSH + b" ", headers=signed(PUSH))
        assert refused.status_code == 401
        posted = client.post(f"{site.public}/webhooks/github", content=PUSH, headers=signed(PUSH))
        assert (posted.status_code, posted.json()["status"]) == (202, "accepted")
        assert client.get(f"{site.control}/api/v1/runs").status_code == 401

        def completed() -> Any:
            runs = client.get(f"{site.control}/api/v1/runs?status=completed", headers=key).json()["runs"]
            return [run for run in runs if run["event"]["id"] == posted.json()["id"]]

        (run,) = until_seen(completed)
        shown = client.get(f"{site.control}/api/v1/runs/{run['run_id']}", headers=key).json()
        push = json.loads(PUSH)
        branch = push["ref"].removeprefix("refs/heads/")
        assert (shown["task"], shown["result"]) == ("announce", f"{branch} is now at {push['after'][:7]}")
        workers = client.get(f"{site.control}/api/v1/workers", headers=key).json()["workers"]
        assert len(workers) == 2
        assert "tidemill_webhook_requests_total" in client.get(f"{site.control}/metrics", headers=key).text
    assert_all_are_healthy(site)
    codes = {name: container.stop() for name, container in reversed(site.containers.items())}
    assert codes == dict.fromkeys(codes, 0)
    assert len(codes) == 5
    for name, container in site.containers.items():
        assert not [line for line in container.lines if "Traceback" in line], name
        assert not list(container.folder.glob(".*")), f"{name} writes into its folder, which is read-only"
    assert not site.containers["engine"].healthy(), "the broker is away"


def assert_all_are_healthy(site: Site) -> None:
    containers = site.containers
    assert containers["broker"].healthy("8222", str(site.monitor))
    assert containers["gateway"].healthy("8080", site.public.rpartition(":")[2])
    assert containers["engine"].healthy()
    assert containers["worker 0"].healthy()
