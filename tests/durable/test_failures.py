"""What a handler remembers of an attempt that has failed behind a step that failed."""

from __future__ import annotations

from tidemill import Context, Retry, StepError, task, testing
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


class Odd(Exception):  # noqa: N818 - as users name theirs
    """Needs its attributes to say anything."""

    def __init__(self, code: int, *, why: str, cause: object = None) -> None:
        super().__init__(code)
        self.code = code
        self.why = why
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.code}, {self.why}"


async def test_an_exception_comes_back_with_what_is_plain_of_it() -> None:
    seen: list[object] = []

    def fails(error: Exception) -> None:
        raise error

    @task(retry=Retry(1))
    async def job(ctx: Context) -> None:
        try:
            await ctx.step("odd", fails, Odd(3, why="x", cause=object()))
        except Odd as error:
            seen.append((error.code, error.why, str(error)))
        try:
            await ctx.step("bytes", fails, UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"))
        except (UnicodeDecodeError, StepError) as error:
            seen.append(type(error))
        try:
            await ctx.step("large", fails, ValueError(2**70))
        except ValueError as error:
            seen.append(str(error))
        await ctx.sleep("1h")

    async with testing.play() as stage:
        await (await stage.start(job)).result()
    once = [(3, "x", "3, x"), UnicodeDecodeError, str(2**70)]
    assert seen == [*once, once[0], StepError, once[2]]


async def test_changed_code_behind_a_failed_step_is_noticed_in_the_same_attempt() -> None:
    names = ["first"]

    def fails() -> None:
        raise OSError("busy")

    @task(retry=AT_ONCE)
    async def job(ctx: Context) -> None:
        try:
            await ctx.step("fails", fails)
        except OSError:
            await ctx.step(names[-1], lambda: None)
        await ctx.sleep("1h")
        await ctx.step("last", lambda: None)

    async with testing.play() as stage:
        run = await stage.start(job)
        await stage.still()
        names.append("second")
        await stage.advance("2h")
        assert stage.status(run.id) == "parked"
