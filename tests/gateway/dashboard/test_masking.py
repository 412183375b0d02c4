"""Fields that schemas mark as secret: no viewer sees them on any page or in any answer, others do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
SECRET = "4111-secret-number"
ROLES = ("viewer", "operator", "approver", "admin")
ORDER = {
    "type": "object",
    "required": ["state"],
    "properties": {
        "state": {"type": "string"},
        "size": {"type": "integer"},
        "card": {"$ref": "#/$defs/card"},
    },
    "$defs": {"card": {"type": "object", "properties": {"number": {"type": "string", "writeOnly": True}}}},
}


@pytest.fixture
async def vault(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    desk_of: Callable[..., Any],
    tmp_path: Path,
) -> AsyncIterator[tuple[Desk, dict[str, str]]]:
    for name in ("order", "picky"):
        folder = tmp_path / "schemas" / "box" / name
        folder.mkdir(parents=True)
        (folder / "1.json").write_text(json.dumps(ORDER))
    keys = {role: create_key() for role in ROLES}
    listed = ", ".join(f'{{ name = "{n}", hash = "{hash_key(k)}", role = "{n}" }}' for n, k in keys.items())
    more = f"""
[sources.box]
preset = "github"
secrets = ["one of them"]
[schemas]
directories = ["{tmp_path}/schemas"]
"""
    settings = settled(broker.url, names, control=f"keys = [{listed}]\n", more=more)
    async with desk_of(settings, "router", "mailman", "history") as desk:
        become(desk, keys["operator"])
        yield desk, keys


def become(desk: Desk, key: str) -> None:
    desk.headers["authorization"] = f"Bearer {key}"
    desk.client.headers["authorization"] = f"Bearer {key}"


async def sent(desk: Desk, event_type: str, document: dict[str, Any]) -> str:
    text = json.dumps(document | {"card": {"number": SECRET, "owner": "Ada"}})
    path = await desk.follow("/test/send", source="box", type=event_type, document=text)
    return path.split("event=")[1].partition("&")[0]


async def places(desk: Desk) -> tuple[list[str], list[str]]:
    """Make something of every kind that holds the secret; return the pages and the answers that show it."""
    event = await sent(desk, "order", {"state": "paid"})
    held = await sent(desk, "order", {"state": 7})
    picky = await sent(desk, "picky", {"state": "paid", "size": 1})
    answer = await desk.client.post(
        "/api/v1/tasks/charge/trigger", json={"payload": {"number": SECRET, "owner": "Ada"}}
    )
    run = answer.json()["run_id"]
    await desk.when(f"/runs/{run}", "waiting", "Shown from</dt><dd>the history")
    listed = await desk.when("/runs?task=opened", "box.order", "completed")
    started = "run_" + listed.split('href="/runs/run_')[1][:26]
    await desk.when("/events", "filtered for picky")
    await desk.when("/deliveries", "quarantined</span>")
    deliveries = (await desk.client.get("/api/v1/deliveries")).json()["deliveries"]
    pages = [f"/events/{event}", f"/events/{picky}", f"/quarantine/{held}", "/quarantine"]
    pages += [f"/runs/{run}", f"/runs/{started}", f"/dry-run?event={picky}", f"/approvals/{run}.charge"]
    pages += [f"/deliveries/{one['id']}" for one in deliveries]
    answers = [f"events/{event}", f"events/{picky}", f"quarantine/{held}", "quarantine", "records", "runs"]
    answers += [f"events/{event}?raw=1", f"quarantine/{held}?raw=1"]
    answers += [f"deliveries/{one['id']}{raw}" for one in deliveries for raw in ("", "?raw=1")]
    answers += [f"runs/{run}", f"history/runs/{run}", f"history/runs/{started}"]
    answers += [f"history/runs/{started}/lineage"]
    return pages, answers


async def test_no_viewer_sees_what_schemas_mark_as_secret(vault: tuple[Desk, dict[str, str]]) -> None:
    desk, keys = vault
    pages, answers = await places(desk)
    for role in ("operator", "approver", "admin"):
        become(desk, keys[role])
        assert any([SECRET in await desk.page(path) for path in pages]), role
        assert SECRET in (await desk.client.get(f"/api/v1/{answers[0]}")).text
    become(desk, keys["viewer"])
    for path in pages:
        assert SECRET not in await desk.page(path), path
    for path in answers:
        answer = await desk.client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, (path, answer.text)
        assert SECRET not in answer.text, path
    assert "Ada" in await desk.page(pages[0]), "what isn't marked is shown"
    raw = (await desk.client.get(f"/api/v1/{answers[0]}?raw=1")).json()
    assert raw == {"state": "paid", "card": {"number": "***", "owner": "Ada"}}
    run = pages[4].removeprefix("/runs/")
    shown = await desk.client.get(f"/runs/{run}/input/raw")
    assert shown.json() == {"number": "***", "owner": "Ada"}


async def test_results_that_may_hold_it_are_kept_from_viewers(vault: tuple[Desk, dict[str, str]]) -> None:
    desk, keys = vault
    payload = {"number": SECRET, "owner": "Ada"}
    answer = await desk.client.post("/api/v1/tasks/charge/trigger", json={"payload": payload})
    run = answer.json()["run_id"]
    become(desk, keys["approver"])
    await desk.when(f"/runs/{run}", "It asks: charge")
    given = {"by": "approver", "approved": True, "data": payload}
    done = await desk.client.post(f"/api/v1/tokens/{run}.charge/complete", json=given)
    assert done.is_success, done.text
    assert SECRET in (await desk.client.get(f"/api/v1/tokens/{run}.charge")).text
    await desk.mill.ended(run)
    assert SECRET in await desk.when(f"/runs/{run}", "completed", "Shown from</dt><dd>the history")
    become(desk, keys["viewer"])
    for path in (f"/runs/{run}", f"/approvals/{run}.charge"):
        assert SECRET not in await desk.page(path)
    for path in (f"runs/{run}", "runs", f"history/runs/{run}", f"tokens/{run}.charge"):
        assert SECRET not in (await desk.client.get(f"/api/v1/{path}")).text
    assert (await desk.client.get(f"/runs/{run}/result/raw")).status_code == 403


async def test_viewers_cant_find_it_by_searching_nor_by_listening(vault: tuple[Desk, dict[str, str]]) -> None:
    desk, keys = vault
    await sent(desk, "order", {"state": "paid"})
    await desk.when("/runs?text=4111", "box.order")
    become(desk, keys["viewer"])
    await desk.page("/runs?text=4111", 403)
    assert (await desk.client.get("/api/v1/history/runs?text=4111")).status_code == 403
    await desk.page("/quarantine?text=4111", 403)
    assert (await desk.client.get("/api/v1/quarantine?text=4111")).status_code == 403
    await desk.page("/quarantine?source=box")
    assert (await desk.client.get("/api/v1/deliveries/stream?source=box")).status_code == 403
    await desk.page("/runs?task=opened")


async def test_the_input_of_a_task_that_is_forgotten_is_hidden(vault: tuple[Desk, dict[str, str]]) -> None:
    desk, keys = vault
    run = await desk.mill.trigger("echo", {"x": SECRET})
    await desk.mill.ended(run)
    await desk.when(f"/runs/{run}", "Shown from</dt><dd>the history")
    become(desk, keys["viewer"])
    assert SECRET in await desk.page(f"/runs/{run}")
    become(desk, keys["admin"])
    assert (await desk.client.delete("/api/v1/tasks/echo")).is_success
    become(desk, keys["viewer"])

    async def gone() -> bool:
        return SECRET not in await desk.page(f"/runs/{run}")

    from tests.consumers.conftest import until  # noqa: PLC0415 - it waits

    await until(gone)
    assert SECRET not in (await desk.client.get(f"/api/v1/history/runs/{run}")).text
