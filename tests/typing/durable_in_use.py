"""Never executed: mypy and pyright check that durable runs and their tests infer what the contract says."""

from __future__ import annotations

import asyncio
import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

from tidemill import (
    Approval,
    Call,
    Context,
    Event,
    Failed,
    Map,
    Ok,
    Outcome,
    Retry,
    Run,
    Step,
    SyncContext,
    Token,
    WaitTimeout,
    task,
)
from tidemill.testing import Crashes, Session, Stage, active, crash_everywhere, play


@dataclass
class Push:
    after: str


@dataclass
class Build:
    suites: list[str]


@dataclass
class Ship:
    canary: int


async def build_image(sha: str, *, cache: bool = True) -> Build:
    return Build([sha, str(cache)])


def checksum(text: str) -> int:
    return len(text)


@task
async def run_suite(name: str) -> int:
    return len(name)


@task
async def nothing() -> str:
    return ""


@task
async def deploy(push: Push, ctx: Context) -> bool:
    assert_type(await ctx.step("build", build_image, push.after), Build)
    careful = Step("again", retry=Retry(9), timeout="5m", returns=Build)
    assert_type(await ctx.step(careful, build_image, push.after, cache=False), Build)
    assert_type(await ctx.step("sum", checksum, "x"), int)
    assert_type(await ctx.gather(*[run_suite.call(name) for name in "ab"]), list[int])
    assert_type(await ctx.gather(run_suite.call("a"), ctx.step("c", build_image, "s")), tuple[int, Build])
    assert_type(
        await ctx.gather(run_suite.call("a"), nothing.call(), ctx.step("d", checksum, "s")),
        tuple[int, str, int],
    )
    assert_type(run_suite.call("a"), Call[int])
    assert_type(await run_suite.call("a", name="first"), int)
    assert_type(await ctx.wait_for_approval("ship", timeout="24h"), Approval[None])
    approval = await ctx.wait_for_approval("ship", Ship, timeout="24h", approvers=["ann"], quorum=1)
    assert_type(approval, Approval[Ship])
    assert_type(approval.data.canary, int)
    assert_type(await ctx.wait_for_event("a.b", Push, match={"id": 1}, timeout="1h"), Event[Push])
    assert_type(await ctx.wait_for_event("a.b", Push, timeout=1, default=None), Event[Push] | None)
    assert_type(await ctx.wait_for_signal("stop", Ship, timeout=timedelta(hours=1)), Ship)
    assert_type(await ctx.reply({"text": "on it"}, status=200, media_type="application/json"), bool)
    assert_type(await ctx.sleep("10m"), None)
    await ctx.sleep(until=datetime.now(UTC), name="until")
    await waits(ctx)
    return await ctx.patched("new")


async def waits(ctx: Context) -> None:
    race = await ctx.first(ctx.wait_for_signal("stop", Ship, timeout="1h"), run_suite.call("z"))
    assert_type(race, tuple[Literal[0], Ship] | tuple[Literal[1], int])
    match race:
        case (0, ship):
            assert_type(ship, Ship)
        case (1, number):
            assert_type(number, int)
    assert_type(await ctx.first(*[run_suite.call(name) for name in "ab"]), tuple[int, int])
    assert_type(ctx.map(run_suite, ["a"], limit=10), Map[int])
    assert_type(await ctx.map(run_suite, ["a"]), list[int])
    async for outcome in ctx.map(run_suite, ["a", "b"], limit=10):
        assert_type(outcome, Outcome[int])
        match outcome:
            case Ok(value):
                assert_type(value, int)
            case Failed(error=error):
                assert_type(error, str)
    assert_type(await ctx.settle(run_suite.call("a"), run_suite.call("b"), need=1), list[Outcome[int]])
    token = ctx.token("callback", Ship, timeout="1h")
    assert_type(token, Token[Ship])
    assert_type((token.id, token.url), tuple[str, str])
    assert_type(await token, Ship)
    async with asyncio.TaskGroup() as group:
        part = group.create_task(ctx.step("p", build_image, "s"))
    assert_type(part.result(), Build)
    assert_type(await run_suite.trigger("a", detached=True, delay="1h"), Run[int])
    assert_type((ctx.now(), ctx.uuid(), ctx.random()), tuple[datetime, uuid.UUID, random.Random])
    late: TimeoutError = WaitTimeout("late")
    raise late


@task
def legacy(push: Push, ctx: SyncContext) -> int:
    assert_type(ctx.step("sum", checksum, push.after), int)
    assert_type(ctx.sleep("1h"), None)
    assert_type(ctx.wait_for_approval("ship", timeout="24h"), Approval[None])
    assert_type(ctx.wait_for_signal("stop", Ship, timeout="24h"), Ship)
    assert_type(ctx.reply("<Response/>", media_type="text/xml"), bool)
    assert_type(ctx.gather(run_suite.call("a"), run_suite.call("b")), list[int])
    return 1


def outside(stage: Stage) -> None:
    stage.approve("ship", by="ann", after="1h")


async def tests() -> None:
    with active() as session:
        assert_type(session, Session)
        session.answer(run_suite, 7)
        session.answer_with(run_suite, len)
        assert_type(await deploy(Push("a")), bool)
    async with play(deploy, legacy, seed=7) as stage:
        assert_type(stage, Stage)
        run = await stage.start(deploy, Push("a"))
        assert_type(run, Run[bool])
        assert_type(await run.result(), bool)
        assert_type(await stage.start(nothing), Run[str])
        assert_type(stage.executed(run.id), dict[str, int])
    found = await crash_everywhere(deploy, Push("a"), prepare=outside, tasks=[legacy])
    assert_type(found, Crashes)
    everything: list[Any] = [found.points, found.outcome.state]
    assert_type(everything, list[Any])
