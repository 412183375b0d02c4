"""Never executed: mypy and pyright check that the public names infer what the contract says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from logging import Logger, LoggerAdapter
from typing import Annotated, Any, assert_type

from tidemill import (
    Abort,
    CallNext,
    Context,
    Depends,
    Event,
    Failed,
    FnTask,
    Ok,
    Outcome,
    Retry,
    RetryAfter,
    Run,
    RunInfo,
    Started,
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


class Db:
    name: str


async def get_db() -> AsyncIterator[Db]:
    yield Db()


async def timed(run: RunInfo, call_next: CallNext) -> Any:
    assert_type((run.run_id, run.attempt), tuple[str, int])
    return await call_next()


@task(middleware=[timed], max_duration="1h")
async def stores(push: Push, ctx: Context, db: Annotated[Db, Depends(get_db)]) -> Report:
    assert_type(db, Db)
    return Report(ok=bool(ctx.run_id and push))


@task(executor="process")
def computes(push: Push, db: Annotated[Db, Depends(get_db, scope="worker")]) -> bytes:
    assert_type(db.name, str)
    return push.after.encode()


@stores.on_start
async def began(started: Started) -> None:
    assert_type(started.run_id, str)


@stores.on_success
async def done(outcome: Ok[Report], db: Annotated[Db, Depends(get_db)]) -> None:
    assert_type(outcome.value, Report)
    assert_type(db, Db)


@stores.on_failure
@stores.on_cancel
async def tell(failed: Failed) -> None:
    assert_type((failed.error, failed.type, failed.run_id), tuple[str, str, str | None])


@stores.on_end
async def over(outcome: Outcome[Report]) -> None:
    assert_type(outcome, Ok[Report] | Failed)


async def provided() -> None:
    assert_type(await stores.trigger(Push("a", "b")), Run[Report])
    assert_type(await computes.trigger(Push("a", "b")), Run[bytes])
    await tell(Failed("no", "ValueError", None))
    with active(overrides={get_db: Db}):
        assert_type(await stores(Push("a", "b")), Report)
        assert_type(computes(Push("a", "b")), bytes)
