"""`tidemill schedules` over both ways, and what the doctor says of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.services import registry
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import Call

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("mill")]


async def publish(expr: str) -> None:
    rule = ScheduleRule(id="tidetable", expr=expr, tz="Europe/Berlin")
    definition = TaskDefinition(id="tidetable", takes="none", schedules=(rule,))
    async with open_broker(Settings.load(None, {}), name="test") as broker:
        await registry.publish(broker.tasks, definition, force=True)


def test_schedules_are_shown_paused_resumed_and_run(call: Call, way: tuple[str, ...]) -> None:
    asyncio.run(publish("0 3 * * *"))
    listed = call(*way, "schedules", "list", "--json").json()
    assert [one["expr"] for one in listed if one["id"] == "tidetable"] == ["0 3 * * *"]
    assert "tidetable" in call(*way, "schedules", "list").out
    assert "0 3 * * *" in call(*way, "tasks", "list").out
    shown = call(*way, "schedules", "show", "tidetable").out
    assert shown.count("03:00:00+") == 5
    assert call(*way, "schedules", "pause", "tidetable", "--json").json()["paused"]
    assert "paused" in call(*way, "schedules", "list").out
    run = call(*way, "schedules", "trigger", "tidetable", "--json").json()["run_id"]
    assert call(*way, "runs", "show", run, "--json").json()["task"] == "tidetable"
    assert call(*way, "schedules", "resume", "tidetable", "--json").json()["paused"] is None
    missing = call(*way, "schedules", "show", "tidetabel")
    assert missing.code == 1
    assert "tidetable" in missing.err
    several = call(*way, "schedules", "pause", "tidetable", "nothing", "--json")
    assert several.code == 1
    assert [one["done"] for one in json.loads(several.out)] == [True, False]
    call(*way, "schedules", "resume", "tidetable")


def test_the_doctor_names_schedules_that_nobody_serves(call: Call) -> None:
    asyncio.run(publish("0 4 * * *"))
    told = call("doctor", "--check", "schedules", "--json").json()
    assert [(one["level"], one["subject"]) for one in told] == [("warning", "schedules")]
    assert "tidetable" in told[0]["what"]
    call("tasks", "remove", "tidetable")
