"""Editing an entry of the quarantine on its page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gateway.dashboard.conftest import HOSTILE

if TYPE_CHECKING:
    from tests.conftest import BrokerProcess
    from tests.gateway.dashboard.conftest import Desk
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
SCHEMA = {
    "type": "object",
    "required": ["state"],
    "properties": {"state": {"type": "string"}, "pin": {"type": "string", "writeOnly": True}},
}


@pytest.fixture
async def desk(
    broker: BrokerProcess,
    names: Names,
    settled: Callable[..., Settings],
    desk_of: Callable[..., Any],
    tmp_path: Path,
) -> AsyncIterator[Desk]:
    folder = tmp_path / "schemas" / "box" / "whole"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps(SCHEMA))
    more = f"""
[sources.box]
preset = "github"
secrets = ["one of them"]
[schemas]
directories = ["{tmp_path}/schemas"]
"""
    settings = settled(broker.url, names, more=more)
    async with desk_of(settings, "router", "mailman", "history") as opened:
        yield opened


async def held(desk: Desk, document: Any) -> str:
    path = await desk.follow("/test/send", source="box", type="whole", document=json.dumps(document))
    return path.split("event=")[1].partition("&")[0]


async def test_an_edited_event_runs_with_its_edit(desk: Desk) -> None:
    event = await held(desk, {"state": 7, "note": HOSTILE, "pin": "1234"})
    page = unescape(await desk.page(f"/quarantine/{event}"))
    assert '"state": 7' in page.partition("<textarea")[2].partition("</textarea>")[0]
    wrong = json.dumps({"state": 8, "note": HOSTILE})
    refused = await desk.send(f"/quarantine/{event}/release", edited="1", payload=wrong)
    assert refused.status_code == 422
    assert 'aria-describedby="problem"' in refused.text
    assert "at $.state" in refused.text
    assert HOSTILE not in refused.text
    assert '"state": 8' in unescape(refused.text).partition("<textarea")[2].partition("</textarea>")[0]
    broken = await desk.send(f"/quarantine/{event}/release", edited="1", payload='{"state"')
    assert (broken.status_code, "no sound JSON" in broken.text) == (422, True)
    mended = json.dumps({"state": "paid", "pin": "***"})
    assert await desk.follow(f"/quarantine/{event}/release", edited="1", payload=mended) == "/quarantine"
    await desk.when("/events", event)
    shown = unescape(await desk.when(f"/events/{event}", "Edited before release by local", "completed"))
    assert "Edited data" in shown
    listed = await desk.when("/runs?task=whole", "box.whole", "completed")
    run = "run_" + listed.split('href="/runs/run_')[1][:26]
    answer = await desk.client.get(f"/runs/{run}/input/raw")
    assert answer.json() == {"state": "paid", "pin": "1234"}
    page = unescape(await desk.when(f"/runs/{run}", "Shown from</dt><dd>the history"))
    assert '"state": "paid"' in page
    assert '"state": 7' not in page
    again = await desk.follow(f"/runs/{run}/replay", edited="1", payload='{"state": "third"}')
    state = await desk.mill.ended(again.removeprefix("/runs/").partition("?")[0])
    assert state.result[1] == {"state": "third"}
    changes = await desk.page("/audit")
    assert "$.state, $.note" in changes
    assert "1234" not in changes


async def test_a_checkbox_releases_what_doesnt_fit(desk: Desk) -> None:
    event = await held(desk, {"state": 7})
    odd = json.dumps({"state": 9})
    await desk.follow(f"/quarantine/{event}/release", edited="1", payload=odd, force="1")
    await desk.when("/events", event)
    await desk.when(f"/events/{event}", "Edited before release by local", "schemaproblem")
