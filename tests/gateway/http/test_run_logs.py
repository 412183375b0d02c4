"""What runs have logged, over the control API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.services import registry
from tidemill.kernel.services.run_logs import Batch, store

if TYPE_CHECKING:
    from conftest import House

pytestmark = pytest.mark.integration


@pytest.fixture
async def run(house: House) -> str:
    await registry.publish(house.broker.tasks, TaskDefinition(id="greet"))
    return str((await house.ask("tasks/greet/trigger", {})).json()["run_id"])


async def say(house: House, run: str, *texts: str, missed: int = 0) -> None:
    lines = [(1_800_000_000.0, "info", "", "shop", text) for text in texts]
    for batch in Batch.split(run, 1, lines, missed):
        await store(house.broker.bus, batch)


async def test_lines_are_listed_and_gone_on_with(house: House, run: str) -> None:
    await say(house, run, "one", "two")
    first = (await house.ask(f"runs/{run}/logs")).json()
    assert first["logs"][0] == {
        "at": "2027-01-15T08:00:00Z",
        "level": "info",
        "attempt": 1,
        "step": None,
        "logger": "shop",
        "text": "one",
        "seq": first["after"],
    }
    assert ([line["text"] for line in first["logs"]], first["more"]) == (["one", "two"], False)
    await say(house, run, "three", missed=4)
    rest = (await house.ask(f"runs/{run}/logs?after={first['after']}")).json()
    assert [line["text"] for line in rest["logs"]] == ["three", "4 more lines weren't kept"]
    assert (await house.ask(f"runs/{run}/logs?limit=1")).json()["more"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("run_00000000000000000000000000/logs", 404),
        ("x/logs", 404),
        ("{run}/logs?after=x", 422),
        ("{run}/logs?after=-1", 422),
        ("{run}/logs?limit=1000", 422),
        ("{run}/logs", 200),
    ],
)
async def test_what_cannot_be_read_is_a_clear_problem(house: House, run: str, path: str, status: int) -> None:
    assert (await house.ask(f"runs/{path.format(run=run)}")).status_code == status


async def test_html_in_a_line_stays_text(house: House, run: str) -> None:
    await say(house, run, "<script>alert(1)</script>\n\ndata: x")
    reply = await house.ask(f"runs/{run}/logs")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.headers["content-security-policy"]


async def events_of(house: House, path: str, enough: int, **headers: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    async with (
        asyncio.timeout(10),
        house.client.stream("GET", f"{house.control}/{path}", headers=headers) as reply,
    ):
        assert reply.headers["content-type"].startswith("text/event-stream")
        kind = ""
        async for line in reply.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                found.append((kind, json.loads(value)))
            if len(found) >= enough:
                break
    return found


async def test_lines_are_followed_as_they_come(house: House, run: str) -> None:
    await say(house, run, "one\n\ntwo")
    following = asyncio.create_task(events_of(house, f"runs/{run}/logs?follow", 2))
    await asyncio.sleep(0.2)
    await say(house, run, "three")
    assert [(kind, line["text"]) for kind, line in await following] == [
        ("line", "one\n\ntwo"),
        ("line", "three"),
    ]


async def test_a_browser_goes_on_where_it_was(house: House, run: str) -> None:
    await say(house, run, "one")
    after = (await house.ask(f"runs/{run}/logs")).json()["after"]
    await say(house, run, "two")
    headers = {"accept": "text/event-stream", "last-event-id": str(after)}
    [(_, line)] = await events_of(house, f"runs/{run}/logs", 1, **headers)
    assert line["text"] == "two"


async def test_a_gateway_that_stops_lets_followers_go(house: House, run: str) -> None:
    following = asyncio.create_task(events_of(house, f"runs/{run}/logs?follow", 1))
    await asyncio.sleep(0.2)
    house.gateway._site.stop()
    assert await following == [("end", {})]
