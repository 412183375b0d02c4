"""The dry run: verdicts with clause and value, and what can't be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.dashboard.conftest import Desk

pytestmark = pytest.mark.integration
HOSTILE = "<script>alert(1)</script>"


def event(**more: Any) -> dict[str, Any]:
    return {"type": "box.picky", "source": "box", "data": {"size": 4}, "headers": {"x-who": "ada"}} | more


async def verdicts(desk: Desk, order: dict[str, Any]) -> dict[str, Any]:
    answer = await desk.client.post("/api/v1/dry-run", json=order)
    assert answer.status_code == 200, answer.text
    return {row.pop("task"): row for row in answer.json()["tasks"]}


async def test_each_task_says_what_it_would_do_and_why(desk: Desk) -> None:
    await desk.when("/tasks", "picky")
    found = await verdicts(desk, {"event": event()})
    assert (found["picky"], found["opened"]) == ({"verdict": "starts"}, {"verdict": "starts"})
    assert found["echo"] == {"verdict": "other_type", "on": []}
    assert found["whole"] == {"verdict": "other_type", "on": ["box.whole"]}
    small = (await verdicts(desk, {"event": event(data={"size": 1})}))["picky"]
    assert small == {"verdict": "filtered", "clause": "data.size > 3", "value": 1}
    other = (await verdicts(desk, {"event": event(headers={"x-who": HOSTILE})}))["picky"]
    assert (other["clause"], other["value"]) == ("headers['x-who'] == 'ada'", HOSTILE)
    broken = (await verdicts(desk, {"event": event(data=None)}))["picky"]
    assert (broken["verdict"], broken["clause"]) == ("quarantined", "data.size > 3")
    assert (await desk.client.get("/api/v1/runs")).json()["runs"] == []


async def test_a_stored_event_is_judged_as_the_router_judged_it(desk: Desk) -> None:
    await desk.when("/tasks", "picky")
    await desk.mill.post("box.picky", {"size": 1}, id="e/1")
    await desk.when("/events", "filtered for picky")
    page = await desk.page("/events/e%2F1")
    assert "/dry-run?event=e%2F1" in page or "/dry-run?event=e/1" in page
    shown = await desk.page("/dry-run?event=e/1")
    assert all(text in shown for text in ("data.size &gt; 3", "filtered", "starts", "no event starts it"))
    assert (await desk.client.post("/api/v1/dry-run", json={"id": "nothing"})).status_code == 404
    await desk.page("/dry-run?event=nothing", 404)


async def test_a_pasted_event_is_judged_or_what_is_wrong_is_told(desk: Desk) -> None:
    await desk.when("/tasks", "picky")
    answer = await desk.send("/dry-run", event=json.dumps(event(headers={"x-who": HOSTILE})))
    assert (answer.status_code, HOSTILE in answer.text) == (200, False)
    assert "&lt;script&gt;" in answer.text
    for wrong in (
        "",
        "{",
        "[]",
        '"x"',
        "{}",
        '{"type": 1}',
        '{"type": ""}',
        '{"type": "a\\u0000b"}',
        '{"type": "x", "headers": {"a": 1}}',
        HOSTILE,
        "[" * 100_000,
        "x" * 1_000_000,
        '{"type": "box.picky", "data": "\\ud800"}',
    ):
        answer = await desk.send("/dry-run", event=wrong)
        assert (answer.status_code, HOSTILE in answer.text) == (422, False), wrong[:40]
        assert 'role="alert"' in answer.text
    large = json.dumps(event(data={"size": HOSTILE * 40_000}))
    answer = await desk.send("/dry-run", event=large)
    assert (answer.status_code, HOSTILE in answer.text) == (200, False)
    assert (await desk.client.post("/dry-run", data={"event": "{}"}, headers=desk.headers)).status_code == 403
