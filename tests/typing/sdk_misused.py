"""Never executed: each marked line has to be an error for mypy and pyright, else the mark itself is one."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from tidemill import Context, Cron, Depends, Failed, Ok, Retry, Task, task


@task
async def count(word: str) -> int:
    return len(word)


@task
async def nightly(ctx: Context) -> None: ...


task(tiemout=5)  # type: ignore[call-overload]
task(concurrency="many")  # type: ignore[call-overload]
task(retry=5)  # type: ignore[call-overload]
task(on=5)  # type: ignore[call-overload]
task(schedule="@daily")  # type: ignore[arg-type]
Cron("@daily", missed="never")  # type: ignore[arg-type]
Cron("@daily", overlap=True)  # type: ignore[arg-type]
Retry(attempts=5)  # type: ignore[call-arg]
Retry(on=[ValueError])  # type: ignore[arg-type]
wrong: Task[int, int] = count  # type: ignore[assignment]


async def application() -> None:
    await count.trigger(5)  # type: ignore[arg-type]
    await count.trigger()  # type: ignore[call-arg]
    await count.trigger("a", delai=5)  # type: ignore[call-arg]
    await count.trigger("a", tags=5)  # type: ignore[arg-type]
    await nightly.trigger("a")  # type: ignore[call-overload]
    count.trigger_sync()  # type: ignore[call-arg]
    await count(5)  # type: ignore[call-overload]
    run = await count.trigger("a")
    (await run.result()).upper()  # type: ignore[attr-defined]


@count.on_success  # type: ignore[arg-type]
async def done(outcome: Ok[str]) -> None: ...


@count.on_failure  # type: ignore[arg-type]
def blocks(failed: Failed) -> None: ...


Depends(dict, scope="run")  # type: ignore[arg-type]
task(executor="fibre")  # type: ignore[call-overload]


async def durable(ctx: Context) -> None:
    await ctx.step("count", len, 5)  # type: ignore[call-overload]
    await ctx.step(5, len, "a")  # type: ignore[call-overload]
    await ctx.sleep(None, name=5)  # type: ignore[arg-type]
    await ctx.wait_for_signal("go", int)  # type: ignore[call-arg]
    await ctx.wait_for_event("a.b", int)  # type: ignore[call-overload]
    await ctx.map(count, [1, 2])  # type: ignore[misc]
    count.call(5)  # type: ignore[arg-type]
    (await count.call("a")).upper()  # type: ignore[attr-defined]
