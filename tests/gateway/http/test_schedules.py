"""Schedules over the control API, without engine and worker: what is asked for is stored durably."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services import registry

if TYPE_CHECKING:
    from conftest import House

pytestmark = pytest.mark.integration
BERLIN = ScheduleRule(id="report", expr="30 2 * * *", tz="Europe/Berlin", tick=True)
SECOND = ScheduleRule(id="report:2", expr="@every 1h", overlap="allow")


@pytest.fixture
async def report(house: House) -> str:
    definition = TaskDefinition(id="report", schedules=(BERLIN, SECOND))
    await registry.publish(house.broker.tasks, definition)
    return "schedules/report"


async def test_schedules_are_listed_with_their_next_five_ticks(house: House, report: str) -> None:
    listed = (await house.ask("schedules")).json()["schedules"]
    assert [one["id"] for one in listed] == ["report", "report:2"]
    shown = (await house.ask(report)).json()
    assert {name: shown[name] for name in ("task", "expr", "tz", "missed", "overlap", "paused", "last")} == {
        "task": "report", "expr": "30 2 * * *", "tz": "Europe/Berlin", "missed": "once", "overlap": "skip",
        "paused": None, "last": None,
    }  # fmt: skip
    ticks = [datetime.fromisoformat(tick) for tick in shown["next"]]
    assert len(ticks) == 5
    assert all(f"{tick:%H:%M}" in ("02:30", "03:00") for tick in ticks)
    assert ticks == sorted(ticks)


async def test_a_pause_is_kept_and_a_run_is_started_all_the_same(house: House, report: str) -> None:
    paused = (await house.ask(f"{report}/pause", {})).json()
    assert paused["paused"]
    assert (await house.ask(f"{report}/pause", {})).json()["paused"] == paused["paused"], "twice is once"
    started = await house.ask(f"{report}/trigger", {})
    assert started.status_code == 202
    run = (await house.ask(f"runs/{started.json()['run_id']}")).json()
    assert (run["task"], run["status"], run["tags"]) == ("report", "queued", ["schedule:report"])
    shown = (await house.ask(report)).json()
    assert shown["last"]["run_id"] == started.json()["run_id"]
    assert shown["started"] == 0, "no tick did"
    assert (await house.ask(f"{report}/resume", {})).json()["paused"] is None
    stored = await house.broker.schedules.get("report")
    assert stored is not None
    assert ScheduleState.from_json(stored.value).paused is None
    changes = (await house.ask("audit?target=report")).json()["audit"]
    assert {change["action"] for change in changes} == {
        "schedules.pause", "schedules.trigger", "schedules.resume"
    }  # fmt: skip


async def test_what_there_is_not(house: House, report: str) -> None:
    missing = await house.ask("schedules/repotr")
    assert missing.status_code == 404
    assert "report" in missing.json()["hint"]
    for verb in ("pause", "resume", "trigger"):
        assert (await house.ask(f"schedules/nothing/{verb}", {})).status_code == 404
    assert (await house.ask("schedules/%00%2F..%2F")).status_code == 404
    await registry.remove(house.broker.tasks, "report")
    assert (await house.ask(report)).status_code == 404


async def test_metrics_count_them(house: House, report: str) -> None:
    await house.ask(f"{report}/pause", {})
    text = (await house.client.get(house.control.removesuffix("/api/v1") + "/metrics")).text
    assert 'tidemill_schedules{state="paused"} 1.0' in text
    assert 'tidemill_schedule_ticks_total{outcome="started"} 0.0' in text
    assert "tidemill_schedule_overdue_seconds 0.0" in text


async def test_a_memory_that_cannot_be_read_is_told(house: House, report: str) -> None:
    await house.broker.schedules.put("report", b'{"of": "another version"}')
    shown = (await house.ask(report)).json()
    assert "can't be read" in shown["problem"]
    assert (await house.ask(f"{report}/pause", {})).status_code == 409
    assert (await house.ask("schedules")).status_code == 200
