"""The feed of deliveries on a real broker, and the answer that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gateway import lines as lines_module
from gateway.api import listening
from gateway.lines import Lines
from tidemill.cli.feed_http import HttpFeed
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.feed import Interest

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

ITEMS = """\
secrets = ["k"]
[sources.items.recipe]
verify = { signature = { at = "header:X-Sig" } }
event = { split = ["body"], type = "{item:type}", id = "{item:id}" }
"""
BATCH = json.dumps([{"id": f"e{number}", "type": "tick"} for number in range(3)]).encode()


class Reader:
    """Reads a feed line by line."""

    def __init__(self, chunks: AsyncIterator[str]) -> None:
        self._chunks = chunks

    async def line(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            line: dict[str, Any] = json.loads(await anext(self._chunks))
            return line

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await anext(self._chunks, None) is None


@asynccontextmanager
async def listening_to(house: House, query: str) -> AsyncIterator[Reader]:
    async with house.client.stream("GET", f"{house.control}/deliveries/stream?{query}") as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"] == "application/x-ndjson"
        yield Reader(response.aiter_lines())


def push(number: int) -> bytes:
    return json.dumps({"number": number}).encode()


@pytest.mark.integration
async def test_deliveries_come_as_they_came_from_now_on_or_from_a_place_on(house: House) -> None:
    await house.deliver(push(0), guid="before")
    async with listening_to(house, "source=github") as reader:
        begin = await reader.line()
        assert set(begin) == {"position", "missed"}
        await house.deliver(push(1), guid="one", event="watch")
        one = await reader.line()
        assert (one["id"], one["type"], one["tenant"]) == ("one", "github.watch", None)
        assert one["body"].encode() == push(1)
        assert one["headers"]["x-hub-signature-256"].startswith("sha256=")
        assert one["seq"] > begin["position"]
        await house.deliver(push(2), guid="two")
        assert (await reader.line())["id"] == "two"
    async with listening_to(house, f"source=github&after={one['seq']}") as reader:
        assert await reader.line() == {"position": one["seq"], "missed": 0}
        assert (await reader.line())["id"] == "two"
    async with listening_to(house, "source=github&since=1h&type=github.zen") as reader:
        await reader.line()
        assert [(await reader.line())["id"] for _ in range(2)] == ["before", "two"]
    async with listening_to(house, "source=github&after=999999") as reader:
        assert (await reader.line())["position"] < 999999


@pytest.mark.integration
async def test_tenants_are_told_apart(house: House) -> None:
    async with listening_to(house, "source=github/*") as every, listening_to(house, "source=github/b") as one:
        await every.line()
        await one.line()
        for tenant in ("a", "b"):
            await house.deliver(push(1), guid=tenant, path=f"/webhooks/github/{tenant}")
        assert [(await every.line())["tenant"] for _ in range(2)] == ["a", "b"]
        assert (await one.line())["tenant"] == "b"


@pytest.mark.integration
async def test_a_batch_comes_once_and_whole_and_bytes_that_are_no_text_as_they_are(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(settled(broker.url, names, **{"sources.items": ITEMS})) as house:

        async def post(body: bytes, kind: str = "application/json") -> None:
            headers = {"content-type": kind, "x-sig": hmac.digest(b"k", body, "sha256").hex()}
            answer = await house.client.post(
                f"http://{house.public}/webhooks/items", content=body, headers=headers
            )
            assert answer.status_code == 202

        async with listening_to(house, "source=items") as reader:
            await reader.line()
            await post(BATCH)
            whole = await reader.line()
            assert (whole["body"].encode(), whole["item"]) == (BATCH, False)
            await post(json.dumps([{"id": "next", "type": "tick"}]).encode())
            following = await reader.line()
            assert "next" in following["body"]
            replayed = (await house.ask("events/e1/replay", {})).json()["id"]
            again = await reader.line()
            assert (again["id"], again["replayof"], again["item"]) == (replayed, "e1", True)
            assert json.loads(again["body"]) == {"id": "e1", "type": "tick"}
        async with listening_to(house, f"source=items&after={whole['seq']}") as reader:
            await reader.line()
            assert (await reader.line())["body"].encode() == BATCH


@pytest.mark.integration
async def test_a_large_body_comes_whole(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    body = json.dumps({"filling": "\u2028\x85" * 400_000}, ensure_ascii=False).encode()
    async with housed(settled(broker.url, names, gateway='max_body = "8MiB"')) as house:
        feed = HttpFeed(f"http://{house.gateway.control_address}")
        lines = feed.lines({"source": "github"})
        async with contextlib.aclosing(lines), asyncio.timeout(20):
            assert "position" in await anext(lines)
            await house.deliver(body, guid="large")
            assert (await anext(lines))["body"].encode() == body


@pytest.mark.integration
async def test_a_heartbeat_comes_where_nothing_else_does_and_a_full_house_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HEARTBEAT", 0.05)
    monkeypatch.setattr(listening, "MOST_LISTENERS", 1)
    async with listening_to(house, "source=github") as reader:
        begin = await reader.line()
        assert (await reader.line()) == {"position": begin["position"]}
        answer = await house.ask("deliveries/stream?source=github")
        assert (answer.status_code, answer.json()["type"]) == (429, "urn:tidemill:problem:too-many-requests")
    async with asyncio.timeout(10):
        while True:
            async with house.client.stream("GET", f"{house.control}/deliveries/stream?source=github") as free:
                if free.status_code == 200:
                    break
            await asyncio.sleep(0.05)


@pytest.mark.integration
@pytest.mark.parametrize(
    "query",
    ["", "source=", "source=/a", "source=github&type=a..b", "source=github&after=-1", "source=a&since=x"],
)
async def test_what_cannot_be_listened_to_is_said(house: House, query: str) -> None:
    answer = await house.ask(f"deliveries/stream?{query}")
    assert answer.status_code == 422
    assert answer.json()["hint"]


@pytest.mark.integration
async def test_a_stream_ends_after_a_while_and_a_head_request_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "LIFETIME", 0.05)
    async with listening_to(house, "source=github") as reader:
        await reader.line()
        assert await reader.ended()
    async with asyncio.timeout(10):
        answer = await house.client.head(f"{house.control}/deliveries/stream?source=github")
    assert answer.status_code == 200


@pytest.mark.integration
async def test_what_somebody_else_put_there_stops_nothing(house: House) -> None:
    async with listening_to(house, "source=github") as reader:
        await reader.line()
        await house.broker.bus.publish(house.broker.names.event("github", "github.odd"), b"no frame at all")
        await house.deliver(push(1), guid="behind")
        assert (await reader.line())["id"] == "behind"


@pytest.mark.integration
async def test_a_gateway_that_stops_ends_its_streams(house: House) -> None:
    async with listening_to(house, "source=github") as reader:
        await reader.line()
        house.gateway._desk.stop()
        assert await reader.ended()


@pytest.mark.integration
async def test_a_stream_outlives_a_broker_that_was_killed(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    settings = settled(own_broker.url, names)
    async with housed(settings) as house, listening_to(house, "source=github") as reader:
        await reader.line()
        await house.deliver(push(1), guid="before")
        assert (await reader.line())["id"] == "before"
        own_broker.kill()
        own_broker.start()
        async with asyncio.timeout(30):
            while (await house.deliver(push(2), guid="after")).status != 202:  # noqa: ASYNC110 - the link comes back
                await asyncio.sleep(0.1)
            while (line := await reader.line()).get("id") is None:
                pass
        assert line["id"] == "after"


class Socket:
    """A client that takes so many messages and then no more, until it goes."""

    def __init__(self, room: int) -> None:
        self.room = asyncio.Semaphore(room)
        self.sent: list[dict[str, Any]] = []
        self.left = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.room.acquire()
        self.sent.append(message)

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_reads_slowly_slows_the_stream_down_and_one_that_goes_ends_it() -> None:
    made = 0

    async def numbers() -> AsyncIterator[dict[str, Any] | None]:
        nonlocal made
        while True:
            made += 1
            yield {"number": made}
            await asyncio.sleep(0)

    socket = Socket(4)
    serving = asyncio.create_task(Lines(numbers())({}, socket.receive, socket.send))  # type: ignore[arg-type] # fakes
    for _ in range(100):
        await asyncio.sleep(0)
    assert (len(socket.sent), made) == (4, 4)
    socket.left.set()
    socket.room.release()
    async with asyncio.timeout(20):
        await serving
    assert made <= 6


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "WRITE_SECONDS", 0.01)
    closed = asyncio.Event()

    async def numbers() -> AsyncIterator[dict[str, Any] | None]:
        try:
            while True:
                yield {"number": 1}
        finally:
            closed.set()

    socket = Socket(2)
    async with asyncio.timeout(20):
        await Lines(numbers())({}, socket.receive, socket.send)  # type: ignore[arg-type] # fakes
    assert closed.is_set()
    assert len(socket.sent) == 2


def test_an_interest_names_a_source() -> None:
    assert Interest("shop/*").name == "shop"
    for source in ("", "/*"):
        with pytest.raises(PayloadError):
            Interest(source)
