"""The pages of schedules: what they show, and pausing, resuming and running from them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tidemill import Cron, Tick, task
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services import registry

if TYPE_CHECKING:
    from tests.gateway.dashboard.conftest import Desk

pytestmark = pytest.mark.integration


@task(schedule=[Cron("30 2 * * *", tz="Europe/Berlin"), Cron("@every 1s", name="often", overlap="allow")])
async def report(tick: Tick) -> str:
    return tick.schedule


async def test_a_schedule_is_shown_paused_resumed_and_run(desk: Desk) -> None:
    async with desk.mill.engine("scheduler"), desk.mill.worker(report):
        listed = await desk.when("/schedules", 'href="/schedules/report"', 'href="/schedules/report%3Aoften"')
        assert "Europe/Berlin" in listed
        page = await desk.page("/schedules/report")
        assert len(re.findall(r"<td class=\"nowrap\" data-local>", page)) == 5
        assert await desk.follow("/schedules/report/pause") == "/schedules/report?said=pause"
        paused = await desk.page("/schedules/report?said=pause")
        assert "no tick starts a run" in paused
        assert "Resume" in paused
        run = (await desk.follow("/schedules/report/trigger")).removeprefix("/runs/")
        assert (await desk.mill.ended(run)).result == "report"
        await desk.when("/schedules/report", run, "schedule%3Areport")
        await desk.follow("/schedules/report/resume")
        assert "Pause" in await desk.page("/schedules/report")
        often = await desk.when("/schedules/report:often", "Last tick", "All of them")
        assert "@every 1s" in often
        assert "/schedules/report" in await desk.page("/tasks/report")
    assert await desk.page("/schedules/nonsense", 404)


async def test_many_schedules_have_several_pages(desk: Desk) -> None:
    for number in range(3):
        rules = tuple(Cron("@yearly").rule(f"yearly{number}:n{at:02}", tick=False) for at in range(25))
        definition = report.definition.model_copy(update={"id": f"yearly{number}", "schedules": rules})
        await registry.publish(desk.mill.broker.tasks, definition)
    first = await desk.page("/schedules")
    assert "yearly1:n24" in first
    assert "yearly2:n00" not in first
    following = re.search(r'href="(/schedules\?after=[^"]+)" rel="next"', first)
    assert following is not None
    second = await desk.page(following[1])
    assert "yearly2:n24" in second
    assert "yearly1:n24</a>" not in second
    assert 'rel="next"' not in second


async def test_one_that_cannot_tick_says_why(desk: Desk) -> None:
    broken = report.definition.schedules[0].model_copy(update={"id": "lost", "tz": "Mars/Olympus"})
    state = ScheduleState(task="lost", rule=broken, since=0.0, cursor=0.0)
    await desk.mill.broker.schedules.put("lost", state.to_json())
    definition = report.definition.model_copy(update={"id": "lost", "schedules": (broken,)})
    await registry.publish(desk.mill.broker.tasks, definition)
    assert "Mars/Olympus" in await desk.page("/schedules/lost")
    assert 'data-status="problem"' in await desk.page("/schedules")
