"""What a worker keeps for all its attempts."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from tidemill.depends import Dependency, Depends, read_dependency
from tidemill.durable.branch import inside
from tidemill.injection import WorkerScope, overriding, provided, serving
from tidemill.run_context import Attempt
from tidemill.source import Place

ATTEMPT = Attempt("run_1", "job")
PLACE = Place(__file__, 1)


@pytest.fixture
def scope() -> WorkerScope:
    return WorkerScope(lambda call: asyncio.get_running_loop().run_in_executor(None, call))


async def values(scope: WorkerScope, **wanted: Dependency) -> dict[str, Any]:
    """Open and close one attempt's dependencies and return what they were."""
    with serving(scope):
        async with provided(wanted, ATTEMPT, lambda: None) as found:
            return found


async def test_what_is_kept_is_opened_once_and_closed_in_its_own_task_behind_what_needs_it(
    scope: WorkerScope,
) -> None:
    said: list[str] = []
    tasks: list[object] = []

    async def pool() -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())
        assert inside() is None
        await asyncio.sleep(0)
        said.append("open pool")
        yield 1
        tasks.append(asyncio.current_task())
        said.append("close pool")

    def client(number: Annotated[int, Depends(pool, scope="worker")]) -> Iterator[str]:
        assert threading.current_thread() is not threading.main_thread()
        said.append("open client")
        yield f"client {number}"
        said.append("close client")

    kept = read_dependency(Depends(client, scope="worker"), PLACE)
    needed = read_dependency(Depends(pool, scope="worker"), PLACE)
    found = await asyncio.gather(*(values(scope, a=kept, b=needed) for _ in range(5)))
    assert found == [{"a": "client 1", "b": 1}] * 5
    assert said == ["open pool", "open client"]
    await scope.close()
    assert said[2:] == ["close client", "close pool"]
    assert tasks[0] is tasks[1]


async def test_what_failed_is_tried_again_and_what_fails_at_its_end_keeps_nothing_open(
    scope: WorkerScope, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[int] = []

    async def flaky() -> AsyncIterator[int]:
        opened.append(1)
        if len(opened) == 1:
            raise OSError("busy")
        yield len(opened)
        raise RuntimeError("at the end")

    with pytest.raises(OSError, match="busy"):
        await values(scope, a=read_dependency(Depends(flaky, scope="worker"), PLACE))
    assert await values(scope, a=read_dependency(Depends(flaky, scope="worker"), PLACE)) == {"a": 2}
    with caplog.at_level(logging.ERROR):
        await scope.close()
    assert "flaky failed while it cleaned up" in caplog.text


async def test_who_asked_may_go_without_harm_to_others(scope: WorkerScope) -> None:
    go = asyncio.Event()

    async def slow() -> int:
        await go.wait()
        return 3

    first = asyncio.create_task(values(scope, a=read_dependency(Depends(slow, scope="worker"), PLACE)))
    second = asyncio.create_task(values(scope, a=read_dependency(Depends(slow, scope="worker"), PLACE)))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    go.set()
    assert await second == {"a": 3}
    await scope.close()


async def test_overrides_stand_before_what_a_worker_keeps_and_end_with_their_block(
    scope: WorkerScope,
) -> None:
    def real() -> str:
        return "real"

    fake: Callable[[], str] = lambda: "fake"  # noqa: E731 - it is what tests write
    with overriding({real: fake}):
        assert await values(scope, a=read_dependency(Depends(real, scope="worker"), PLACE)) == {"a": "fake"}
    assert await values(scope, a=read_dependency(Depends(real, scope="worker"), PLACE)) == {"a": "real"}
    await scope.close()


async def test_what_doesnt_come_in_time_is_given_up() -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    wanted = {"a": read_dependency(Depends(never), PLACE)}
    with pytest.raises(TimeoutError, match=r"weren't there within its timeout of 0.01 s"):
        async with provided(wanted, ATTEMPT, lambda: None, 0.01):
            raise AssertionError
