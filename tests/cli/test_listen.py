"""`tidemill listen`: from one gateway to another, whose secrets differ, with processes that are killed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway.posting import build
from tests.conftest import free_port
from tidemill.cli import listening as listening_module
from tidemill.cli.feed_http import HttpFeed
from tidemill.cli.listening import Listening, LocalGateway
from tidemill.kernel.errors import ControlError, NotFoundError, SettingsError
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import BrokerProcess, Call, Service

    from tidemill.kernel.subjects import Names

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
KEY, OPERATOR = create_key(), create_key()
SOURCES = """\
[sources.github]
preset = "github"
secrets = ["{secret}"]
[sources.stripe]
preset = "stripe"
secrets = ["whsec_{secret}"]
[sources.sendgrid]
preset = "sendgrid"
allow_unsigned = true
"""


class Place:
    """A gateway in a process of its own, on fixed ports."""

    def __init__(self, folder: Path, url: str, namespace: str, secret: str, keys: str = "") -> None:
        self.folder = folder
        folder.mkdir()
        self.public, self.control = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        text = f"""\
[gateway]
listen = "{self.public.removeprefix("http://")}"
[control]
listen = "{self.control.removeprefix("http://")}"
{keys}
[nats]
url = "{url}"
namespace = "{namespace}"
"""
        (folder / "tidemill.toml").write_text(text + SOURCES.format(secret=secret))
        self.settings = Settings.load(folder / "tidemill.toml", {})

    def start(self, service: Callable[..., Service]) -> Service:
        started = service("--config", str(self.folder / "tidemill.toml"), "gateway")
        started.wait_for("control listener on")
        return started

    async def post(self, source: str, event_type: str, event_id: str) -> bytes:
        """Post a sample as its provider would, and return its body."""
        url = f"{self.public}/webhooks/{source}"
        posting = build(self.settings, source, event_type, event_id=event_id, url=url)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(url, content=posting.body, headers=posting.headers)
        assert answer.status_code == 202, answer.text
        assert answer.json()["status"] == "accepted"
        return posting.body

    async def events(self) -> list[str]:
        async with httpx.AsyncClient(trust_env=False) as client:
            found = (await client.get(f"{self.control}/api/v1/events?limit=200")).json()["events"]
        return [event["id"] for event in reversed(found)]

    async def body(self, event: str) -> bytes:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.control}/api/v1/events/{event}?raw=1")).content


@pytest.fixture
def places(broker: BrokerProcess, names: Names, tmp_path: Path) -> tuple[Place, Place]:
    roles = {"viewer": hash_key(KEY), "operator": hash_key(OPERATOR)}
    listed = [f'{{ name = "{role}", hash = "{text}", role = "{role}" }}' for role, text in roles.items()]
    keys = f"keys = [{', '.join(listed)}]"
    return (
        Place(tmp_path / "far", broker.url, f"{names.namespace}far", "the far one", keys),
        Place(tmp_path / "near", broker.url, f"{names.namespace}near", "the near one"),
    )


def follow(far: Place, near: Place, source: str, told: list[str], **wanted: Any) -> Listening:
    feed = HttpFeed(far.control, KEY)
    gateway = LocalGateway(near.settings, source, None)
    limit = wanted.pop("limit", None)
    return Listening(feed, gateway, {"source": source, **wanted}, told.append, limit=limit)


async def collect(listening: Listening) -> list[tuple[str, str]]:
    found = []
    async for delivery, response in listening.deliveries():
        assert response is not None
        found.append((delivery["id"], response.json().get("status", response.text)))
    return found


async def test_deliveries_arrive_with_their_bytes_whatever_the_secret(
    places: tuple[Place, Place], service: Callable[..., Service], call: Call
) -> None:
    far, near = places
    far.start(service)
    near.start(service)
    bodies = {name: await far.post("github", "issues.opened", name) for name in ("one", "two")}
    paid = await far.post("stripe", "invoice.paid", "evt_paid")
    told: list[str] = []
    async with asyncio.timeout(60):
        assert await collect(follow(far, near, "github", told, since="1h", limit=2)) == [
            ("one", "accepted"),
            ("two", "accepted"),
        ]
        assert await collect(follow(far, near, "stripe", told, since="1h", limit=1)) == [
            ("evt_paid", "accepted")
        ]
        again = await collect(follow(far, near, "github", told, since="1h", limit=2))
        assert [status for _, status in again] == ["duplicate", "duplicate"]
    assert {name: await near.body(name) for name in bodies} == bodies
    assert await near.body("evt_paid") == paid
    words = ("--config", str(near.folder / "tidemill.toml"), "--key", KEY, "listen", "--from", far.control)
    shown = await asyncio.to_thread(call, *words, "github", "--after", "0", "--limit", "2", "--json")
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [(row["id"], row["status_code"]) for row in rows] == [("one", 202), ("two", 202)]
    shown = await asyncio.to_thread(call, *words, "github", "--since", "1h", "--limit", "1")
    assert "github.issues.opened  one  ->  202 duplicate" in shown.out
    assert f"go on with --after {rows[0]['seq']}" in shown.out


async def test_a_stream_goes_on_where_it_broke_when_either_gateway_is_killed(
    places: tuple[Place, Place], service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_module, "LONGEST_PAUSE", 0.5)
    far, near = places
    remote, local = far.start(service), near.start(service)
    told: list[str] = []
    listening = follow(far, near, "github", told, after=0, limit=4)
    following = asyncio.create_task(collect(listening))
    async with asyncio.timeout(120):
        await far.post("github", "push", "one")
        while await near.events() != ["one"]:  # noqa: ASYNC110 - another process takes it
            await asyncio.sleep(0.05)
        await asyncio.to_thread(remote.end, signal.SIGKILL)
        remote = await asyncio.to_thread(far.start, service)
        await far.post("github", "push", "two")
        while "two" not in await near.events():  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.05)
        await asyncio.to_thread(local.end, signal.SIGKILL)
        await far.post("github", "push", "three")
        await far.post("github", "push", "four")
        while not any("local gateway" in line for line in told):  # noqa: ASYNC110 - it tells nobody else
            await asyncio.sleep(0.05)
        await asyncio.to_thread(near.start, service)
        found = await following
    assert [name for name, _ in found] == ["one", "two", "three", "four"]
    assert await near.events() == ["one", "two", "three", "four"]
    assert any("broke" in line for line in told)


async def test_who_may_not_listen_or_cannot_be_reached_hears_it_at_once(
    places: tuple[Place, Place], service: Callable[..., Service]
) -> None:
    far, near = places
    nobody = Listening(HttpFeed(far.control), LocalGateway(near.settings, "github", None), {}, [].append)
    with pytest.raises(ControlError):
        await collect(nobody)
    far.start(service)
    nobody.wanted = {"source": "github"}
    with pytest.raises(SettingsError):
        await collect(nobody)
    with pytest.raises(NotFoundError):
        LocalGateway(near.settings, "nobody", None)


async def test_an_event_that_was_sent_again_is_another_one_here(
    places: tuple[Place, Place], service: Callable[..., Service]
) -> None:
    far, near = places
    far.start(service)
    near.start(service)
    await far.post("github", "push", "old")
    async with httpx.AsyncClient(trust_env=False) as client:
        url, bearer = f"{far.control}/api/v1/events/old/replay", "Authorization"
        answer = await client.post(url, headers={bearer: f"Bearer {KEY}"})
        assert answer.status_code == 403  # who may listen may not change anything
        again = (await client.post(url, headers={bearer: f"Bearer {OPERATOR}"})).json()["id"]
    async with asyncio.timeout(30):
        found = await collect(follow(far, near, "github", [], after=0, limit=2))
    assert found == [("old", "accepted"), (again, "accepted")]
    assert await near.events() == ["old", again]
