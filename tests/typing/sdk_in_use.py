"""Never executed: mypy and pyright check that the public names infer what the contract says."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from logging import Logger, LoggerAdapter
from typing import Any, assert_type

from tidemill import (
    Abort,
    Context,
    Event,
    FnTask,
    Retry,
    RetryAfter,
    Run,
    SyncContext,
    Task,
    TaskDecorator,
    TriggerOptions,
    task,
)
from tidemill.client import Client, use
from tidemill.testing import active


@dataclass
class Push:
    after: str
    ref: str


@dataclass
class Report:
    ok: bool


tenant = task(retry=Retry(5), concurrency=2)
assert_type(tenant, TaskDecorator)
careful = tenant(timeout="5m")
assert_type(careful, TaskDecorator)


@task
async def run_suite(name: str) -> int:
    return len(name)


@tenant(on="github.push", where="data.ref == 'refs/heads/main'", timeout=300)
async def deploy(push: Push, ctx: Context, *, loud: bool = False) -> Report:
    assert_type(ctx.run_id, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.event, Event[Any] | None)
    assert_type(ctx.now(), datetime)
    assert_type(ctx.idempotency_key("charge"), str)
    assert_type(ctx.log, LoggerAdapter[Logger])
    suite = await run_suite.trigger(push.after)
    assert_type(suite, Run[int])
    if await suite.result(timeout="5m") == 0:
        raise RetryAfter(timedelta(minutes=5), "rate limited")
    if loud:
        raise Abort("too loud")
    return Report(ok=True)


@task
async def context_only(ctx: Context) -> int:
    return ctx.attempt


@task
async def nothing() -> int:
    return 1


@task(on=["slack.command", "slack.event.>"])
async def slash(e: Event[dict[str, str]], ctx: Context) -> None:
    assert_type(ctx.attempt, int)
    assert_type(e.data, dict[str, str])
    assert_type(e.raw, bytes)
    assert_type(e.subject, str | None)


@task(id="crunch.v2", aliases=["crunch"])
def crunch(p: Push) -> bytes:
    return p.after.encode()


@task(timeout=timedelta(seconds=5))
def legacy(p: Push, ctx: SyncContext) -> int:
    assert_type(ctx.cancelled, bool)
    return len(p.ref)


@careful
def quiet(ctx: SyncContext) -> int:
    return ctx.attempt


@task(
    retry=Retry(
        max_attempts=5, factor=2, min_delay=1, max_delay="1m", on=(OSError,), never_on=(TimeoutError,)
    )
)
def plain(e: Event[Push]) -> str:
    return e.data.ref


@task
def idle() -> str:
    return ""


assert_type(nothing, FnTask[None, int, [], Coroutine[Any, Any, int]])
assert_type(idle, FnTask[None, str, [], str])
assert_type(run_suite.trigger_sync("a"), Run[int])
assert_type(context_only.trigger_sync(None), Run[int])


async def application() -> None:
    run = await deploy.trigger(Push("a", "b"), idempotency_key="k", delay="10m", tags=["x"])
    assert_type(run, Run[Report])
    assert_type(run.id, str)
    assert_type(await run.result(), Report)
    await run.cancel("superseded")
    assert_type(await context_only.trigger(), Run[int])
    assert_type(await nothing.trigger(delay=3), Run[int])
    assert_type(await nothing.trigger(None, at=datetime.now(UTC), ttl="1h"), Run[int])
    assert_type(await slash.trigger({"text": "hi"}), Run[None])
    assert_type(await crunch.trigger(Push("a", "b")), Run[bytes])
    assert_type(await legacy.trigger(Push("a", "b")), Run[int])
    assert_type(await quiet.trigger(), Run[int])
    assert_type(await plain.trigger(Push("a", "b")), Run[str])
    assert_type(await idle.trigger(), Run[str])

    with active():
        assert_type(await deploy(Push("a", "b")), Report)
        assert_type(crunch(Push("a", "b")), bytes)
        assert_type(legacy(Push("a", "b")), int)
        assert_type(plain(Push("a", "b")), str)
        assert_type(await slash({"text": "hi"}), None)

    only: Task[Push, Report] = deploy
    none: Task[None, int] = context_only
    events: Task[dict[str, str], None] = slash
    assert_type((only.id, none.id, events.id), tuple[str, str, str])

    options: TriggerOptions = {"delay": 5, "tags": ("a", "b")}
    assert_type(await deploy.trigger(Push("a", "b"), **options), Run[Report])

    async with Client.http("https://tidemill.example", "key") as client:
        with use(client):
            assert_type(await nothing.trigger(), Run[int])


async def with_a_context(ctx: Context, push: Push) -> None:
    assert_type(await deploy(push, ctx), Report)
    assert_type(await deploy(push, ctx, loud=True), Report)
    assert_type(await run_suite("a"), int)
