"""Live updates: who is told, what of, for how long, and how many may listen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from gateway import live as live_module
from gateway.live import Listening
from tests.gateway.dashboard.conftest import open_desk, settled

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
settings_of = settled


@pytest.fixture
async def desk(
    broker: BrokerProcess, names: Names, settings_of: Callable[..., Settings]
) -> AsyncIterator[Desk]:
    async with open_desk(settings_of(broker.url, names), "router", "mailman", "history") as opened:
        yield opened


async def events(desk: Desk, query: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the data of the events that come, an empty object for a heartbeat."""
    async with desk.client.stream("GET", f"/live?{query}") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                yield orjson.loads(line.removeprefix("data: "))
            elif line.startswith(":"):
                yield {}


async def changes(desk: Desk, query: str, act: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return what is told from the moment of the first heartbeat on until a change has come."""
    found = []
    async with asyncio.timeout(20), contextlib.aclosing(events(desk, query)) as stream:
        async for event in stream:
            if not found:
                await act()
            found.append(event)
            if event:
                return found
    raise AssertionError(found)


async def test_a_new_run_is_told_to_those_who_listen_to_journals(desk: Desk) -> None:
    told = await changes(desk, "streams=JOURNAL", lambda: desk.mill.trigger("echo", 1))
    assert set(told[-1]) <= {"JOURNAL", "JOURNAL.history"}


async def test_the_next_record_of_a_run_is_told_to_its_page(desk: Desk) -> None:
    run = await desk.mill.trigger("asking", None)
    await desk.when(f"/runs/{run}", "It asks")
    other = lambda: desk.mill.trigger("echo", 1)  # noqa: E731 - nothing else is told
    await other()

    async def cancel() -> None:
        await other()
        await desk.mill.runs.signal(run, "cancel")

    assert (await changes(desk, f"run={run}", cancel))[-1] == {"run_id": run}


@pytest.mark.parametrize("query", ["streams=NOTHING", "run=nonsense", "seconds=0", "seconds=61", "seconds=x"])
async def test_what_doesnt_exist_cant_be_listened_to(query: str, desk: Desk) -> None:
    for path in ("/live", "/api/v1/live"):
        assert (await desk.client.get(f"{path}?{query}")).status_code == 422


async def test_listeners_are_let_go_after_their_time(desk: Desk) -> None:
    async with asyncio.timeout(20):
        found = [event async for event in events(desk, "seconds=1&streams=DEAD")]
    assert found[0] == {}
    assert desk.gateway._site._live._number == 0


async def test_no_more_listen_than_may(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MOST", 1)
    async with asyncio.timeout(20), contextlib.aclosing(events(desk, "")) as stream:
        await anext(stream)
        refused = await desk.client.get("/live")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        at_the_same_time = desk.gateway._site._live.listen(frozenset({"JOURNAL"}))
        assert [event async for event in at_the_same_time] == []


async def test_who_asks_for_the_head_alone_doesnt_listen(desk: Desk) -> None:
    async with asyncio.timeout(20):
        head = await desk.client.head("/live")
        assert (head.status_code, head.headers["content-type"].partition(";")[0]) == (
            200,
            "text/event-stream",
        )
        assert desk.gateway._site._live._number == 0


@pytest.mark.parametrize("query", ["", "run=run_00000000000000000000000000"])
async def test_a_gateway_that_stops_lets_its_listeners_go(
    query: str, broker: BrokerProcess, names: Names, settings_of: Callable[..., Settings]
) -> None:
    async with asyncio.timeout(20), open_desk(settings_of(broker.url, names)) as desk:
        listening = contextlib.aclosing(events(desk, query))
        stream = await listening.__aenter__()
        await anext(stream)
        desk.gateway._site.stop()
        assert [event async for event in stream] == []


def test_a_listener_is_told_once_and_only_of_what_it_listens_to() -> None:
    mine = Listening(frozenset({"JOURNAL"}))
    assert mine.news({"JOURNAL": 1, "JOURNAL.history": 0, "DEAD": 5}) == {"JOURNAL": 1, "JOURNAL.history": 0}
    assert mine.news({"JOURNAL": 1, "JOURNAL.history": 1, "DEAD": 6}) == {"JOURNAL.history": 1}
    assert mine.news({"JOURNAL": 1, "JOURNAL.history": 1, "DEAD": 7}) == {}
