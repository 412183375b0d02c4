"""A gateway with engine, history and worker on a real broker, and a browser without script in front of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import BaseModel, Field

from gateway.server import open_gateway
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Context, Event, Retry, task
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from consumers.loader import AnyTask
    from gateway.server import Gateway
    from tests.conftest import BrokerProcess
    from tidemill.kernel.subjects import Names

HOSTILE = "<script>alert(1)</script>"
_CSRF = re.compile(r'name="csrf-token" content="([^"]+)"')


@task
async def echo(value: Any) -> Any:
    return value


@task(retry=Retry(max_attempts=2, min_delay=0.01, max_delay=0.01))
async def doomed(value: Any) -> None:
    raise ValueError(f"{HOSTILE} {str(value)[:50]}")


@task
async def asking(_: Any, ctx: Context) -> dict[str, Any]:
    approval = await ctx.wait_for_approval("a/b <i>", timeout="1h")
    return {"approved": approval.approved, "by": approval.by, "comment": approval.comment}


@task
async def stepping(number: int, ctx: Context) -> int:
    one = await ctx.step("one", abs, number)
    return one + await ctx.step("two", abs, -number)


@task
async def typed(number: int) -> int:
    return number + 1


@dataclass
class Crates:
    name: str
    crates: int
    fragile: bool = False


@task
async def packed(crates: Crates) -> int:
    return crates.crates


@task(on="box.>")
async def opened(_: Any) -> str:
    return HOSTILE


class Card(BaseModel):
    number: str = Field(json_schema_extra={"writeOnly": True})
    owner: str


@task
async def charge(card: Card, ctx: Context) -> str:
    approval = await ctx.wait_for_approval("charge", Card, timeout="1h")
    return card.number + str(approval.by)


@task(on="box.picky", where="data.size > 3 && headers['x-who'] == 'ada'")
async def picky(_: Any) -> None:
    pass


@task(on="box.whole")
async def whole(event: Event) -> list[Any]:
    return [event.id, event.data, len(event.raw), event.type]


TASKS: tuple[AnyTask, ...] = (echo, doomed, asking, stepping, typed, packed, opened, charge, picky, whole)


@dataclass
class Desk:
    """Pages as a browser without script gets them."""

    gateway: Gateway
    mill: Mill
    client: httpx.AsyncClient
    headers: dict[str, str] = field(default_factory=lambda: {"accept": "text/html"})

    async def page(self, path: str, status: int = 200) -> str:
        """Return a page, of which nothing may run that isn't ours."""
        answer = await self.client.get(path, headers=self.headers)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert len(answer.content) < 100_000
        assert HOSTILE not in answer.text
        assert "Traceback (most recent call last)" not in answer.text or "ValueError" in answer.text
        assert not re.search(r"<script(?! src=\"/static/)|<[^>]+ (style|on\w+)=", answer.text)
        return answer.text

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as its page would."""
        found = _CSRF.search((await self.client.get("/workers", headers=self.headers)).text)
        assert found is not None
        return await self.client.post(path, data={"csrf": found[1], **fields}, headers=self.headers)

    async def follow(self, path: str, **fields: str) -> str:
        """Send a form that is taken, and return the path that it leads to."""
        answer = await self.send(path, **fields)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def when(self, path: str, *texts: str) -> str:
        """Wait until a page shows some texts."""

        async def look() -> str | None:
            text = await self.page(path)
            return text if all(one in text for one in texts) else None

        found: str = await until(look)
        return found


@asynccontextmanager
async def open_desk(settings: Settings, *roles: str) -> AsyncIterator[Desk]:
    """Open everything that stands behind the pages; without roles there is neither engine nor worker."""
    async with (
        open_broker(settings, name="gateway") as broker,
        open_gateway(settings, broker) as gateway,
        httpx.AsyncClient(base_url=f"http://{gateway.control_address}", timeout=30, verify=False) as client,
    ):
        desk = Desk(gateway, Mill(settings, broker), client)
        if not roles:
            yield desk
            return
        async with desk.mill.engine(*roles), desk.mill.worker(*TASKS):
            yield desk


@pytest.fixture
def settled(tmp_path: Path) -> Callable[..., Settings]:
    """Writes settings; the history stands beside them."""

    def write(url: str, names: Names, control: str = "", more: str = "") -> Settings:
        sections = {
            "gateway": 'listen = "127.0.0.1:0"',
            "control": f'listen = "127.0.0.1:0"\n{control}',
            "nats": f'url = "{url}"\nnamespace = "{names.namespace}"',
        }
        text = "\n".join(f"[{name}]\n{lines}" for name, lines in sections.items())
        (tmp_path / "tidemill.toml").write_text(f"{text}\n{more}")
        return Settings.load(tmp_path / "tidemill.toml", {})

    return write


@pytest.fixture
def desk_of() -> Callable[..., Any]:
    return open_desk


@pytest.fixture
async def desk(broker: BrokerProcess, names: Names, settled: Callable[..., Settings]) -> AsyncIterator[Desk]:
    """All of it, the history too."""
    async with open_desk(settled(broker.url, names), "router", "mailman", "history") as opened_desk:
        yield opened_desk
