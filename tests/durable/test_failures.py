"""What a handler remembers of an attempt that has failed behind a step that failed."""

from __future__ import annotations

from tidemill import Context, Retry, task, testing
from tidemill.run import Run

AT_ONCE = Retry(max_attempts=3, min_delay=0, jitter=False)


async def test_what_was_done_about_a_failed_step_keeps_no_later_attempt_from_another_way() -> None:
    calls: list[str] = []

    def fetch() -> str:
        calls.append("fetch")
        if calls.count("fetch") == 1:
            raise OSError("busy")
        return "data"

    @task(retry=AT_ONCE)
    async def job(ctx: Context) -> str:
        try:
            found = await ctx.step("fetch", fetch)
        except OSError:
            await ctx.step("tidy", calls.append, "tidy")
            raise
        await ctx.step("store", calls.append, "store")
        return found

    async with testing.play() as stage:
        run: Run[str] = await stage.start(job)
        assert await run.result() == "data"
    assert calls == ["fetch", "tidy", "fetch", "store"]


async def test_what_is_done_behind_a_failed_step_isnt_done_again_when_the_code_comes_by() -> None:
    calls: list[str] = []

    def flaky() -> None:
        calls.append("flaky")
        if calls.count("flaky") == 1:
            raise OSError("busy")

    @task(retry=AT_ONCE)
    async def job(ctx: Context) -> None:
        failure = None
        try:
            await ctx.step("flaky", flaky)
        except OSError as error:
            failure = error
        await ctx.step("last", calls.append, "last")
        if failure is not None:
            raise failure

    async with testing.play() as stage:
        await (await stage.start(job)).result()
    assert calls == ["flaky", "last", "flaky"]


async def test_a_missing_key_is_the_same_key_when_the_code_is_executed_again() -> None:
    told: list[object] = []

    def look_up(key: object) -> None:
        raise KeyError(key)

    @task
    async def job(ctx: Context) -> None:
        for key in ("name", 7):
            try:
                await ctx.step("look up", look_up, key)
            except KeyError as error:
                told.append(error.args[0])
        await ctx.sleep("1h")

    async with testing.play() as stage:
        run: Run[None] = await stage.start(job)
        await run.result()
    assert told == ["name", 7, "name", 7]
