"""Steps: executed once, typed on the way back, tried again by themselves, failed for good."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from tidemill import Abort, Context, Retry, RetryAfter, RunFailedError, Step, StepError, task
from tidemill.kernel.protocol import records
from tidemill.testing import Stage, play

CALLS: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


class Page(BaseModel):
    url: str
    words: tuple[str, ...]


@dataclass
class Point:
    x: int
    y: int


class Odd(Exception):  # noqa: N818 - a user's
    """Can't be made from a message alone."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code


async def test_a_result_has_the_same_type_at_once_and_on_the_way_back() -> None:
    seen: list[Any] = []

    async def fetch(url: str) -> Page:
        return Page(url=url, words=("a", "b"))

    def measure() -> Point:
        return Point(1, 2)

    def untyped():  # type: ignore[no-untyped-def] # noqa: ANN202 - a user's function without annotations
        return (1, 2)

    @task
    async def types(ctx: Context) -> None:
        page = await ctx.step("fetch", fetch, "https://a.example")
        point = await ctx.step("measure", measure)
        pair = await ctx.step("untyped", untyped)
        told = await ctx.step(Step("told", returns=tuple[int, int]), untyped)
        await ctx.step("nothing", lambda: None)
        seen.append((page, point, pair, told))
        await ctx.sleep("1h")

    async with play() as stage:
        await (await stage.start(types)).result()
    assert seen[0] == seen[1]
    assert seen[0] == (
        Page(url="https://a.example", words=("a", "b")),
        Point(1, 2),
        [1, 2],
        (1, 2),
    )


async def test_functions_of_every_kind_are_executed() -> None:
    class Client:
        async def __call__(self, x: int) -> int:
            return x + 1

        def method(self, x: int, *, more: int = 0) -> int:
            return x + more

    async def double(x: int) -> int:
        return x * 2

    threads: list[int] = []

    def blocking() -> str:
        threads.append(threading.get_ident())
        return "blocked"

    @task
    async def every(ctx: Context) -> list[Any]:
        client = Client()
        return [
            await ctx.step("callable", client, 1),
            await ctx.step("method", client.method, 2, more=3),
            await ctx.step("partial", partial(double, 4)),
            await ctx.step("lambda", lambda: double(5)),
            await ctx.step("blocking", blocking),
        ]

    async with play() as stage:
        assert await (await stage.start(every)).result() == [2, 5, 8, 10, "blocked"]
    assert threads != [threading.get_ident()]


async def test_large_results_lie_beside_the_journal() -> None:
    @task
    async def large(ctx: Context) -> int:
        text = await ctx.step("large", lambda: "x" * 200_000)
        await ctx.sleep("1h")
        return len(text)

    async with play() as stage:
        run = await stage.start(large)
        assert await run.result() == 200_000
        (step,) = [record for record in stage.journal(run.id) if isinstance(record, records.Step)]
        assert step.blob is not None
        assert step.result is None


async def play_flaky(stage: Stage, step: Step | str, raises: Callable[[int], Exception | None]) -> Any:
    """Play a task whose second step fails as it is told."""

    def before() -> None:
        CALLS["before"] += 1

    async def flaky() -> int:
        CALLS["flaky"] += 1
        error = raises(CALLS["flaky"])
        if error is not None:
            raise error
        return CALLS["flaky"]

    @task
    async def trying(ctx: Context) -> int:
        CALLS["attempt"] += ctx.attempt == 1
        await ctx.step("before", before)
        return await ctx.step(step, flaky)

    return await (await stage.start(trying)).result()


async def test_a_step_is_tried_again_by_itself_and_time_passes_in_between() -> None:
    retry = Retry(max_attempts=4, min_delay="1h", factor=2, max_delay="1d", jitter=False)
    async with play() as stage:
        begun = stage.now()
        found = await play_flaky(stage, Step("flaky", retry=retry), lambda n: OSError("x") if n < 4 else None)
        assert found == 4
        assert (stage.now() - begun).total_seconds() == 3600 * (1 + 2 + 4)
        assert stage.state(stage.runs[0]).attempt == 1
    assert CALLS["before"] == 1


async def test_a_step_that_fails_for_good_fails_its_attempt_and_the_next_executes_it_anew() -> None:
    retry = Retry(max_attempts=2, min_delay=1)
    async with play() as stage:
        with pytest.raises(RunFailedError, match="no luck"):
            await play_flaky(stage, Step("flaky", retry=retry), lambda _: OSError("no luck"))
    assert CALLS["flaky"] == 2 * 3, "two tries in each of the task's three attempts"
    assert CALLS["before"] == 1


@pytest.mark.parametrize(
    ("error", "calls"),
    [(Abort("enough"), 1), (KeyError("not on the list"), 1), (OSError("on the list"), 3)],
)
async def test_a_policy_says_which_errors_are_tried_again(error: Exception, calls: int) -> None:
    seen: list[str] = []

    async def flaky() -> None:
        CALLS["flaky"] += 1
        raise error

    @task
    async def handling(ctx: Context) -> None:
        try:
            await ctx.step(Step("flaky", retry=Retry(3, on=(OSError,), min_delay=0)), flaky)
        except Exception as caught:  # noqa: BLE001 - what it is is looked at
            seen.append(type(caught).__name__)

    async with play() as stage:
        await (await stage.start(handling)).result()
    assert CALLS["flaky"] == calls
    assert seen == [type(error).__name__]


async def test_retry_after_says_when_a_step_is_tried_again() -> None:
    async with play() as stage:
        begun = stage.now()
        step = Step("flaky", retry=Retry(2, min_delay=1))
        await play_flaky(stage, step, lambda n: RetryAfter("3h") if n == 1 else None)
        assert (stage.now() - begun).total_seconds() == 3 * 3600


async def test_neighbours_are_not_repeated_by_a_steps_own_retry() -> None:
    async def work(name: str) -> str:
        CALLS[name] += 1
        if name == "flaky" and CALLS[name] < 3:
            raise OSError(name)
        return name

    @task
    async def side_by_side(ctx: Context) -> list[str]:
        names = ["left", "flaky", "right"]
        return list(
            await asyncio.gather(
                *(ctx.step(Step(name, retry=Retry(5, min_delay="1m")), work, name) for name in names)
            )
        )

    async with play() as stage:
        run = await stage.start(side_by_side)
        assert await run.result() == ["left", "flaky", "right"]
        assert stage.executed(run.id) == {"left": 1, "flaky": 3, "right": 1}
        assert stage.state(run.id).attempt == 1


async def test_a_try_that_takes_too_long_is_ended() -> None:
    seen: list[str] = []

    async def hang() -> None:
        CALLS["hang"] += 1
        if CALLS["hang"] == 1:
            await asyncio.Event().wait()

    @task
    async def hanging(ctx: Context) -> None:
        try:
            await ctx.step(Step("hang", timeout=0.01), hang)
        except TimeoutError as error:
            seen.append(str(error))
        await ctx.step(Step("hang", timeout=10), hang)

    async with play() as stage:
        await (await stage.start(hanging)).result()
    assert seen == ["step 'hang' took longer than 0.01 s"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("not a number"), ValueError, "not a number"),
        (KeyError("name"), KeyError, "name"),
        (ConnectionResetError("gone"), OSError, "gone"),
        (Odd(7, "lucky"), Odd, "lucky"),
        (Abort("enough"), Abort, "enough"),
    ],
)
async def test_a_failure_that_the_handler_has_dealt_with_is_never_executed_again(
    error: Exception, kind: type[Exception], message: str
) -> None:
    seen: list[Exception] = []

    async def fails() -> None:
        CALLS["fails"] += 1
        raise error

    @task
    async def dealing(ctx: Context) -> str:
        try:
            await ctx.step("fails", fails)
        except Exception as caught:  # noqa: BLE001 - what it is is looked at
            seen.append(caught)
        await ctx.sleep("1h")
        return await ctx.step("after", lambda: "after")

    async with play() as stage:
        assert await (await stage.start(dealing)).result() == "after"
    assert CALLS["fails"] == 1
    assert len(seen) == 2
    assert all(isinstance(caught, kind) and message in str(caught) for caught in seen)
    assert type(seen[0]) is type(seen[1])


async def test_an_error_that_cannot_be_made_again_comes_back_as_a_step_error() -> None:
    seen: list[Exception] = []

    def fails() -> None:
        class Local(Exception):  # noqa: N818 - a user's
            """Nobody can import it."""

        raise Local("from nowhere")

    @task
    async def dealing(ctx: Context) -> None:
        try:
            await ctx.step("fails", fails)
        except Exception as caught:  # noqa: BLE001 - what it is is looked at
            seen.append(caught)
        await ctx.sleep("1h")

    async with play() as stage:
        await (await stage.start(dealing)).result()
    assert type(seen[0]).__name__ == "Local"
    assert isinstance(seen[1], StepError)
    assert "from nowhere" in str(seen[1])


async def test_a_result_that_cannot_be_written_down_names_step_path_and_type() -> None:
    class Connection:
        pass

    @task
    async def careless(ctx: Context) -> None:
        await ctx.step("open", lambda: {"connections": [Connection()]})

    async with play() as stage:
        run = await stage.start(careless)
        with pytest.raises(RunFailedError) as caught:
            await run.result()
        assert stage.state(run.id).attempt == 1, "another attempt would meet the same"
    assert "the result of step 'open'" in str(caught.value)
    assert "connections[0]" in str(caught.value)
    assert "Connection" in str(caught.value)


async def test_a_result_that_does_not_fit_what_the_function_promises_is_refused() -> None:
    async def wrong() -> int:
        answer: Any = "seven"
        return answer

    @task
    async def careless(ctx: Context) -> None:
        await ctx.step("count", wrong)

    async with play() as stage:
        with pytest.raises(RunFailedError, match=r"'count'.*valid integer"):
            await (await stage.start(careless)).result()


async def test_names_repeat_in_loops() -> None:
    @task
    async def looping(ctx: Context) -> list[int]:
        found = []
        for number in range(3):
            found.append(await ctx.step("double", lambda n: n * 2, number))
            await ctx.sleep("1h")
        return found

    async with play() as stage:
        run = await stage.start(looping)
        assert await run.result() == [0, 2, 4]
        assert stage.executed(run.id) == {"double": 1, "double#2": 1, "double#3": 1}
