"""A real Chromium before a whole installation, as `tidemill dev` starts it."""

from __future__ import annotations

import hmac
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.cli.conftest import Service

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT: Final = Path(__file__).parents[2]
ENVIRON: Final = os.environ  # noqa: TID251 - the tests' own switches, nothing of the product's
SHOTS: Final = Path(ENVIRON.get("SCREENSHOTS") or ROOT / ".screenshots")
PICTURED: Final = "SCREENSHOTS" in ENVIRON or not ENVIRON.get("CI")
PATIENCE: Final = 30_000.0
"""Milliseconds after which something that a page has to show has failed to come."""
SETTINGS: Final = """\
[gateway]
listen = "127.0.0.1:0"
public_url = "https://mill.example.com"
[nats]
durability = "os"
[alerts]
interval = 0.5
group_wait = 0.5
retry_for = 1
[alerts.webhook.nobody]
url = "http://127.0.0.1:1/"
[sources.github]
preset = "github"
secrets = ["one of them"]
keep_refused = true
"""
SECRET: Final = "one of them"
TASKS: Final = '''\
"""Tasks of the tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tidemill import Context, Cron, Retry, Tick, task


@dataclass
class Cargo:
    name: str
    crates: int


@task
async def weigh(crate: int, ctx: Context) -> int:
    async def look() -> int:
        return crate * 7

    return await ctx.step("look", look)


@task(on="github.push")
async def announce(push: dict[str, Any]) -> str:
    return "<script>alert(1)</script>"


@task
async def ship(cargo: Cargo, ctx: Context) -> dict[str, Any]:
    async def load() -> str:
        ctx.log.info("loading %s", cargo.name)
        return f"{cargo.crates} crates of {cargo.name}"

    ctx.log.info("approved at %s", ctx.approval_url("leave"))
    loaded = await ctx.step("load", load)
    weights = await ctx.gather(*[weigh.call(crate) for crate in range(cargo.crates)])
    approval = await ctx.wait_for_approval("leave", timeout="1h")
    return {"loaded": loaded, "weights": weights, "approved": approval.approved, "by": approval.by}


@task(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.01))
async def leak(number: int) -> None:
    raise ValueError(f"<b>water</b> in hold {number}")


@task(on="github.deployment_review")
async def review(deployment: dict[str, Any], ctx: Context) -> Any:
    approval = await ctx.wait_for_approval("deploy", timeout="1h")
    return deployment["ref"] if approval.approved else None


@task(on="github.pull_request.opened", retry=Retry(max_attempts=1))
async def sink(pull: dict[str, Any]) -> None:
    raise ValueError("too much water")


@task(schedule=[Cron("30 2 * * *", tz="Europe/Berlin"), Cron("@yearly", name="yearly", spread="1m")])
async def tide(tick: Tick) -> str:
    return tick.schedule


@task(concurrency=2)
async def sail(hours: int) -> None:
    await asyncio.sleep(hours * 3600)
'''


def missing(reason: str) -> None:
    """Skip what can't be tested here; in CI it has to be."""
    pytest.fail(reason) if ENVIRON.get("CI") else pytest.skip(reason)


@dataclass(frozen=True)
class Harbour:
    """The installation, as programs see it."""

    control: str
    public: str
    client: httpx.Client

    def trigger(self, task: str, payload: Any) -> str:
        answer = self.client.post(f"/api/v1/tasks/{task}/trigger", json={"payload": payload})
        return str(answer.raise_for_status().json()["run_id"])

    def post(self, event: str, body: bytes, *, secret: str = SECRET) -> str:
        """Deliver a webhook as GitHub does; return its id."""
        guid = str(uuid.uuid4())
        headers = {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": guid,
            "x-hub-signature-256": "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex(),
        }
        self.client.post(f"{self.public}/webhooks/github", content=body, headers=headers)
        return guid

    def until(self, path: str, condition: Callable[[Any], object]) -> Any:
        """Wait until an answer of the API is as it has to be, and return it."""
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            answer = self.client.get(path)
            if answer.is_success and condition(answer.json()):
                return answer.json()
            assert time.monotonic() < deadline, f"{path}: {answer.text}"
            time.sleep(0.05)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    folder = tmp_path_factory.mktemp("harbour")
    (folder / "tidemill.toml").write_text(SETTINGS)
    (folder / "tasks.py").write_text(TASKS)
    dev = Service(("dev", "tasks.py", "--port", "0", "--no-reload"), folder)
    try:
        control, public = dev.addresses()
        with httpx.Client(base_url=control, timeout=20) as client:
            running = Harbour(control, public, client)
            running.until("/api/v1/tasks", lambda found: len(found["tasks"]) == 8)
            yield running
    finally:
        assert dev.end() == 0, "\n".join(dev.lines)
        assert "Traceback" not in "\n".join(dev.lines), "\n".join(dev.lines)[-6000:]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; where it isn't installed its tests are skipped, in CI they fail."""
    program = shutil.which("chromium")
    if program is None:
        missing("Chromium is missing: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def is_fault(message: ConsoleMessage) -> bool:
    """Say whether a page logged a fault; answers of 404 and 422 are none, as the tests ask for them."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture
def open_page(chromium: Browser, harbour: Harbour) -> Iterator[Callable[..., Page]]:
    """Opens pages; at the end none may have logged an error, a blocked script or style least of all."""
    contexts, said = [], []

    def opened(path: str, *, theme: str = "light", **given: Any) -> Page:
        context = chromium.new_context(base_url=harbour.control, **given)
        context.set_default_timeout(PATIENCE)
        context.add_cookies([{"name": "tidemill-theme", "value": theme, "url": harbour.control}])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if is_fault(message) else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core from npm, under tests/npm/node_modules or the folder that NPM_MODULES names."""
    modules = Path(ENVIRON.get("NPM_MODULES") or ROOT / "tests/npm/node_modules")
    file = modules / "axe-core/axe.min.js"
    if not file.exists():
        missing(f"{file} isn't there: npm ci --prefix tests/npm fetches it")
    return file.read_text(encoding="utf-8")
