"""Never executed: mypy and pyright check what tasks with a schedule infer."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, assert_type

from tidemill import Context, Cron, FnTask, SyncContext, Task, Tick, task
from tidemill.testing import tick


@task(schedule=Cron("0 3 * * *", tz="Europe/Berlin", missed="all", overlap="cancel"))
async def report(due: Tick, ctx: Context) -> str:
    assert_type(due.scheduled_at, datetime)
    assert_type(due.last_at, datetime | None)
    assert_type(due.schedule, str)
    return ctx.run_id


@task(schedule=[Cron("@hourly"), Cron("@every 5m", name="often", spread="30s")])
async def sweep() -> int:
    return 1


@task(schedule=(Cron("@daily"),))
def tidy(due: Tick, ctx: SyncContext) -> bool:
    return ctx.cancelled or due.last_at is None


assert_type(sweep, FnTask[None, int, [], Coroutine[Any, Any, int]])
as_task: Task[Tick, str] = report
as_sync_task: Task[Tick, bool] = tidy


async def application() -> None:
    assert_type(await (await report.trigger(tick(report))).result(), str)
    assert_type(await report(tick(report)), str)
    assert_type(tidy(tick(tidy)), bool)
