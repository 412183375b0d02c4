"""Fixtures of the gateway's tests: examples of GitHub from npm; a control listener without a broker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.access.guard import Access
from gateway.access.oidc import Oidc
from gateway.access.proxy import Proxy
from gateway.access.revocations import Revocations
from gateway.access.seal import Seal
from gateway.access.sessions import Sessions
from gateway.api.control import build_control
from gateway.api.logins import LoginsApi
from gateway.clients import Clients
from gateway.dashboard.assets import Assets
from gateway.dashboard.frame import Frame
from gateway.dashboard.login import Login
from gateway.dashboard.theme import Theme
from gateway.keys.https import HttpsFetch
from gateway.metrics import Metrics
from tests.gateway.keys.key_server import Authority, KeyServer, make_authority
from tidemill.kernel.errors import BrokerError, WrongSequenceError
from tidemill.kernel.services.audit import Audit, Change
from tidemill.kernel.settings.control import ControlSettings

if TYPE_CHECKING:
    from starlette.routing import Route

OCTOKIT = "@octokit/webhooks-examples"
FETCH = "npm ci --prefix tests/npm"


@pytest.fixture(scope="session")
def octokit_examples() -> list[tuple[str, dict[str, Any]]]:
    """All 329 payloads of the package with the names of their events.

    They stand under tests/npm/node_modules, or in the folder that NPM_MODULES names. CI must have them.
    """
    environ = os.environ  # noqa: TID251 - the tests' own switches, nothing of the product's
    modules = Path(environ.get("NPM_MODULES") or Path(__file__).parents[1] / "npm/node_modules")
    index = modules / OCTOKIT / "api.github.com/index.json"
    if not index.exists():
        reason = f"{index} isn't there: {FETCH} fetches it"
        pytest.fail(reason) if environ.get("CI") else pytest.skip(reason)
    events = json.loads(index.read_text())
    return [(event["name"], example) for event in events for example in event["examples"]]


class MemoryAudit(Audit):
    """Keeps changes with what came of them; fails where a test says so."""

    def __init__(self) -> None:
        self.changes: list[list[Any]] = []
        self.error: BrokerError | None = None

    async def begin(self, change: Change) -> str:
        if self.error:
            raise self.error
        self.changes.append([change, "", {}])
        return str(len(self.changes) - 1)

    async def end(self, entry: str, outcome: str, detail: dict[str, str] | None = None) -> None:
        self.changes[int(entry)][1:] = [outcome, detail or {}]


@dataclass
class MemoryBucket:
    """Stands for a bucket of the broker."""

    entries: dict[str, bytes] = field(default_factory=dict)

    async def create(self, key: str, value: bytes, *, keep: float) -> None:
        assert keep > 0
        if key in self.entries:
            raise WrongSequenceError("taken")
        self.entries[key] = value

    async def put(self, key: str, value: bytes) -> None:
        self.entries[key] = value

    async def items(self) -> dict[str, bytes]:
        return dict(self.entries)


async def a_key() -> bytes:
    return b"k" * 32


async def well() -> dict[str, str]:
    return {}


class ControlBench:
    """A control listener in memory, with the login's pages and a test's own routes."""

    def __init__(
        self,
        control: ControlSettings | None = None,
        routes: Callable[[Frame], Sequence[Route]] = lambda _: (),
        *,
        oidc: Oidc | None = None,
        proxy: Proxy | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self.control = control or ControlSettings()
        self.keys = self.control.keys
        self.metrics = Metrics()
        self.audit = MemoryAudit()
        self.ended = MemoryBucket()
        self.revoked = Revocations(self.ended)  # type: ignore[arg-type] # a fake
        seal, clients = Seal(a_key), Clients(["127.0.0.1"])
        clock = {"now": now} if now is not None else {}
        sessions = Sessions(seal, self.control, lambda: self.keys, self.revoked, **clock)
        self.access = Access(self.control, lambda: self.keys, seal, clients, sessions, self.audit, proxy)
        assets = Assets()
        self.frame = Frame(assets, logins=self.control.logins)
        own = [*assets.routes(), *Login(self.frame, self.access, oidc).routes()]
        own += LoginsApi(sessions).routes()
        own += Theme(self.access.https).routes()
        app = build_control([*own, *routes(self.frame)], self.metrics, well, self.access, self.frame)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        scheme = "https" if self.access.https else "http"
        self.client = httpx.AsyncClient(transport=transport, base_url=f"{scheme}://127.0.0.1:8081")

    def ask(self, path: str, method: str = "GET", **kwargs: Any) -> httpx.Response:
        """Ask as a program would; headers are keyword arguments too, with underscores."""
        headers = {name.replace("_", "-"): kwargs.pop(name) for name in list(kwargs) if name not in _OF_HTTPX}
        given = headers | kwargs.pop("headers", {})
        return asyncio.run(self.client.request(method, path, headers=given, **kwargs))

    def browse(self, path: str, method: str = "GET", **kwargs: Any) -> httpx.Response:
        """Ask as a browser would."""
        kwargs["headers"] = {"accept": "text/html,*/*;q=0.8"} | kwargs.get("headers", {})
        return self.ask(path, method, **kwargs)


_OF_HTTPX = ("headers", "content", "data", "json", "params")


@pytest.fixture
def control_bench() -> type[ControlBench]:
    return ControlBench


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def key_server(authority: Authority) -> AsyncIterator[KeyServer]:
    found = KeyServer()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=authority.server)
    found.port = listening.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        if found.gate is not None:
            found.gate.set()
        listening.close()
        await listening.wait_closed()


@pytest.fixture
def fetch(authority: Authority) -> HttpsFetch:
    """Fetch from the test's own server, whatever the host."""

    async def here(host: str, port: int) -> list[str]:
        assert host
        assert port
        return ["127.0.0.1"]

    return HttpsFetch(authority.client, here, inside=True)
