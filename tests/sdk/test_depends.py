from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from tidemill import CallNext, Context, Depends, Event, RunInfo, SyncContext, task, testing
from tidemill.kernel.errors import ContextError, DefinitionError

SEEN: list[str] = []


class Db:
    def __init__(self, name: str = "db") -> None:
        self.name = name


class Settings:
    """A class is a provider too."""

    def __init__(self) -> None:
        self.name = "settings"


async def get_db(settings: Annotated[Settings, Depends(Settings)]) -> AsyncIterator[Db]:
    SEEN.append("open")
    try:
        yield Db(settings.name)
    except ValueError:
        SEEN.append("failed")
    finally:
        SEEN.append("close")


def get_name(db: Annotated[Db, Depends(get_db)], ctx: Context) -> Iterator[str]:
    SEEN.append(ctx.run_id[:4])
    yield db.name
    SEEN.append("let go")


@task
async def on_loop(
    text: str, db: Annotated[Db, Depends(get_db)], name: Annotated[str, Depends(get_name)]
) -> str:
    if text == "raise":
        raise ValueError(text)
    return f"{text} {db.name} {name}"


@task
def blocking(text: str, name: Annotated[str, Depends(get_name)]) -> str:
    return f"{text} {name}"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    SEEN.clear()


async def test_a_direct_call_is_provided_with_what_isnt_given() -> None:
    with testing.active():
        assert await on_loop("a") == "a settings settings"
        assert SEEN == ["open", "run_", "let go", "close"]
        assert await on_loop("a", Db("given"), "name") == "a given name"
        assert await on_loop("a", name="name", db=Db("given")) == "a given name"
        assert blocking("b") == "b settings"
    assert await on_loop("a", Db("given"), "name") == "a given name"
    with pytest.raises(TypeError, match="needs 'db', which its runs are provided with"):
        await on_loop("a")


async def test_no_provider_swallows_what_the_handler_raises() -> None:
    with testing.active(), pytest.raises(ValueError, match="raise"):
        await on_loop("raise")
    assert SEEN == ["open", "run_", "failed", "close"]


async def test_tests_provide_others() -> None:
    async def fake() -> Db:
        return Db("fake")

    def named(db: Annotated[Db, Depends(fake)]) -> str:
        return f"{db.name} name"

    with testing.active(overrides={get_db: fake}):
        assert await on_loop("a") == "a fake fake"
    with testing.active(overrides={get_db: lambda: Db("other"), get_name: named}):
        assert await on_loop("a") == "a other fake name"
    async with testing.play(overrides={get_name: lambda: "played"}) as stage:
        assert await (await stage.start(blocking, "b")).result() == "b played"
        assert await (await stage.start(on_loop, "a")).result() == "a settings played"


async def test_a_dependency_isnt_part_of_what_the_run_remembers() -> None:
    async def steps(ctx: Context) -> str:
        return await ctx.step("one", lambda: "x")

    @task
    async def job(ctx: Context, found: Annotated[str, Depends(steps)]) -> str:
        return f"{found} {ctx.run_id}"

    with testing.active(), pytest.raises(ContextError, match="inside of step"):
        await job()


def test_a_provider_is_read_with_the_names_of_its_own_module() -> None:
    module: dict[str, Any] = {}
    code = """
from __future__ import annotations
from typing import Annotated
from tidemill import Depends
def one() -> int: return 10
def ten(number: Annotated[int, Depends(one)]) -> int: return number
"""
    exec(code, module)  # it stands for another module, with a function of the same name
    ten = module["ten"]

    @task
    def job(_: int, found: Annotated[int, Depends(ten)]) -> int:
        return found

    with testing.active():
        assert job(1) == 10


async def test_middleware_goes_around_every_attempt() -> None:
    async def outer(run: RunInfo, call_next: CallNext) -> Any:
        SEEN.append(f"{run.task_id} {run.attempt} {run.payload}")
        return f"<{await call_next()}>"

    async def inner(_: RunInfo, call_next: CallNext) -> Any:
        return f"({await call_next()})"

    async def twice(_: RunInfo, call_next: CallNext) -> Any:
        await call_next()
        return await call_next()

    @task(middleware=[outer, inner])
    async def job(text: str) -> str:
        return text

    @task(middleware=[outer])
    def sync_job(text: str) -> str:
        return text

    @task(middleware=[twice])
    async def again() -> None: ...

    async with testing.play() as stage:
        assert await (await stage.start(job, "a")).result() == "<(a)>"
        assert await (await stage.start(sync_job, "b")).result() == "<b>"
        with pytest.raises(Exception, match="called call_next"):
            await (await stage.start(again)).result()
    assert SEEN == ["job 1 a", "sync_job 1 b"]
    assert await job("a") == "a"


def one(two: Annotated[int, Depends(lambda: 2)]) -> int:
    return two


def needs_more(number: int) -> int:
    return number


def recursive(again: Annotated[int, Depends(lambda: 1)]) -> int:
    return again


recursive.__annotations__["again"] = Annotated[int, Depends(recursive)]


@contextlib.contextmanager
def managed() -> Iterator[int]:
    yield 1


def shared(db: Annotated[Db, Depends(get_db)]) -> Db:
    return db


def slash(number: Annotated[int, Depends(one)], /) -> int:
    return number


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        (lambda: Depends(needs_more), "nothing provides 'number' of needs_more"),
        (lambda: Depends(recursive), "depend on each other: recursive -> recursive"),
        (lambda: Depends(managed), "is a context manager, not a generator"),
        (lambda: Depends(shared, scope="worker"), "its 'db' lasts for one attempt"),
        (lambda: Depends(slash), "can't be passed by name"),
        (lambda: Depends(3), r"Depends\(3\) can't be called"),  # type: ignore[arg-type] # that is the point
        (lambda: Depends(one, scope="run"), "no scope 'run'"),  # type: ignore[arg-type] # the same
    ],
)
def test_what_cant_be_provided_is_said_at_import(marker: Callable[[], Depends], told: str) -> None:
    def define() -> None:
        handler.__annotations__["found"] = Annotated[int, marker()]
        task(handler)

    def handler(text: str, found: Any) -> str:
        return f"{text} {found}"

    with pytest.raises(DefinitionError, match=told) as caught:
        define()
    assert caught.value.hint
    assert "test_depends.py:" in caught.value.sentence


def test_the_payload_goes_first() -> None:
    with pytest.raises(DefinitionError, match="stands where the payload goes"):

        @task
        async def job(number: Annotated[int, Depends(one)]) -> int:
            return number


def test_a_hook_is_an_async_function_that_can_be_called() -> None:
    @task
    async def job() -> None: ...

    def blocks(failed: Any) -> None: ...

    async def more(failed: Any, other: int) -> None: ...

    async def event(event: Event[Any]) -> None: ...

    async def two(failed: Any, ctx: SyncContext) -> None: ...

    for hook, told in ((blocks, "async"), (more, "'other'"), (event, "Event"), (two, "SyncContext")):
        with pytest.raises(DefinitionError, match=told):
            job.on_failure(hook)  # type: ignore[arg-type] # that is the point
    assert not job.definition.hooks


async def test_hooks_are_told_on_a_stage() -> None:
    told: list[Any] = []

    @task
    async def job(text: str) -> str:
        told.append("job")
        return text

    @job.on_start
    async def began(_: Any) -> None:
        told.append("began")

    @job.on_end
    async def ended(outcome: Any) -> None:
        told.append(outcome.value)

    assert job.definition.hooks
    async with testing.play() as stage:
        await (await stage.start(job, "a")).result()
        await stage.still()
    assert told == ["began", "job", "a"]


async def test_hooks_are_told_wherever_a_process_dies() -> None:
    told: list[str] = []

    @task
    async def job(text: str, ctx: Context) -> str:
        await ctx.step("one", told.append, "one")
        await ctx.sleep("1h")
        return text

    @job.on_start
    async def began(_: Any) -> None:
        told.append("began")

    @job.on_end
    async def ended(outcome: Any) -> None:
        told.append(outcome.value)

    crashes = await testing.crash_everywhere(job, "a")
    plays = crashes.points + 1
    assert crashes.executed == {"on_start/began": 1, "one": 1, "job~hooks: ended": 1}
    # Killed behind a step and before its record, one play executes it again, as every step.
    assert told.count("began") == plays + crashes.again["on_start/began"]
    assert told.count("a") == plays + crashes.again["job~hooks: ended"]
    assert set(crashes.again.values()) == {1}
