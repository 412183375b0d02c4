"""One execution of a handler, without a broker: what each way of ending concludes to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from consumers import execution
from consumers.execution import Execution, Tools
from consumers.journal_port import Surroundings
from consumers.loader import AnyTask
from consumers.threads import HandlerThreads
from tidemill import Context, Retry, RetryAfter, SyncContext, task
from tidemill.client import Client, current, use
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.protocol.attempt import Session
from tidemill.kernel.protocol.conclusions import Cancelled, Completed, Failed, Interrupted, Lost, Policy
from tidemill.kernel.protocol.records import Claim, Created
from tidemill.kernel.protocol.state import State
from tidemill.kernel.protocol.tickets import Ticket
from tidemill.kernel.services.performer import Performer
from tidemill.transport import Transport


class FakeBlobs:
    """As much of a performer as executions use."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}

    async def get_blob(self, name: str) -> bytes:
        if name not in self.stored:
            raise NotFoundError(f"blob {name} doesn't exist")
        return self.stored[name]

    async def put_blob(self, owner: str, data: bytes) -> str:
        self.stored[f"{owner}/1"] = data
        return f"{owner}/1"


CREATED = Created(rid="c", task="t", raw=b'"main"')


@pytest.fixture
def tools() -> Iterator[Tools]:
    threads = HandlerThreads(1)
    performer = cast("Performer", FakeBlobs())
    nobody = cast("Any", None)
    yield Tools(threads, performer, Surroundings(performer, nobody, nobody, nobody, nobody))
    threads.shutdown(wait=False, cancel_futures=True)


def _execution(handler: AnyTask, tools: Tools, created: Created = CREATED) -> Execution:
    claim = Claim(rid="w-1", q=7, n=1, worker="w")
    state = State()
    state.apply(1, created)
    state.apply(2, claim)
    ticket = Ticket(run="run_x", task=handler.id, seq=1, q=7, delivered=1, delivery="w-1")
    return Execution(handler, Session(ticket, claim, state, Policy()), tools)


async def test_a_result_is_json_or_a_blob_where_it_is_large(tools: Tools) -> None:
    @task
    async def repeat(data: str) -> str:
        return data * 2

    @task
    async def nothing() -> None: ...

    completed = await _execution(repeat, tools).conclude()
    assert isinstance(completed, Completed)
    assert (orjson.dumps(completed.result), completed.blob) == (b'"mainmain"', None)
    assert await _execution(nothing, tools).conclude() == Completed(None)
    large = replace(CREATED, raw=orjson.dumps("x" * INLINE_LIMIT))
    assert await _execution(repeat, tools, large).conclude() == Completed(blob="run_x/1")


async def test_an_input_that_lies_in_a_blob_is_fetched(tools: Tools) -> None:
    @task
    async def length(data: str) -> int:
        return len(data)

    cast("FakeBlobs", tools.performer).stored["b"] = b'"long"'
    completed = await _execution(length, tools, replace(CREATED, blob="b")).conclude()
    assert isinstance(completed, Completed)
    assert orjson.dumps(completed.result) == b"4"
    failed = await _execution(length, tools, replace(CREATED, blob="gone")).conclude()
    assert isinstance(failed, Failed)
    assert (failed.final, failed.fault.type) == (True, "PayloadError")


async def test_handlers_see_their_run_and_the_workers_client(tools: Tools) -> None:
    seen: list[Any] = []

    @task
    async def looks(data: str, ctx: Context) -> None:
        seen.append((data, ctx.run_id, ctx.attempt, current()))

    @task
    def looks_in_thread(data: str, ctx: SyncContext) -> None:
        seen.append((data, ctx.run_id, ctx.attempt, current()))

    with use(Client(cast("Transport", object()))) as client:
        for handler in (looks, looks_in_thread):
            assert isinstance(await _execution(handler, tools).conclude(), Completed)
    assert seen == [("main", "run_x", 1, client)] * 2


@pytest.mark.parametrize(
    ("error", "final", "delay"),
    [
        (ConnectionError("x"), False, None),
        (KeyError("x"), True, None),
        (PayloadError("x"), True, None),
        (RetryAfter(5), False, 5.0),
        (asyncio.CancelledError(), False, None),
        (SystemExit(1), True, None),
        (GeneratorExit(), False, None),
    ],
)
async def test_exceptions_are_failures_by_the_policy(
    tools: Tools, error: BaseException, *, final: bool, delay: float | None
) -> None:
    @task(retry=Retry(on=(OSError,)))
    async def fails() -> None:
        raise error

    failed = await _execution(fails, tools).conclude()
    assert isinstance(failed, Failed)
    assert (failed.final, failed.delay, failed.outcome) == (final, delay, "failed")
    assert (failed.fault.attempt, 0 <= failed.roll <= 1) == (1, True)


@pytest.mark.parametrize("verdict", [Cancelled("why"), Interrupted(), Lost()])
async def test_a_handler_that_is_stopped_concludes_with_the_reason(
    tools: Tools, verdict: Cancelled | Interrupted | Lost
) -> None:
    begun = asyncio.Event()

    @task
    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    executing = _execution(waits, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    assert executing.going_on
    executing.stop(verdict)
    assert await concluding == verdict
    assert (executing.going_on, executing.stopping, executing.lost) == (False, True, verdict == Lost())


@pytest.mark.parametrize("verdict", [Cancelled("why"), Interrupted(), Lost()])
async def test_a_handler_that_was_stopped_before_it_began_never_begins(
    tools: Tools, verdict: Cancelled | Interrupted | Lost
) -> None:
    calls: list[int] = []

    @task
    async def work() -> None:
        calls.append(1)

    executing = _execution(work, tools)
    executing.stop(verdict)
    assert await executing.conclude() == verdict
    assert not calls


@pytest.mark.parametrize(
    ("verdict", "kind"), [(Cancelled(), Completed), (Interrupted(), Completed), (Lost(), Lost)]
)
async def test_who_completes_nevertheless_has_completed_unless_the_run_is_lost(
    tools: Tools, verdict: Cancelled | Interrupted | Lost, kind: type
) -> None:
    begun = asyncio.Event()

    @task
    async def finishes() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "slept"

    executing = _execution(finishes, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    executing.stop(verdict)
    assert isinstance(await concluding, kind)


@pytest.mark.parametrize(
    ("verdict", "kind"), [(Cancelled(), Failed), (Interrupted(), Interrupted), (Lost(), Lost)]
)
async def test_what_a_stopped_handler_raises_counts_only_where_it_was_cancelled(
    tools: Tools, verdict: Cancelled | Interrupted | Lost, kind: type
) -> None:
    begun = asyncio.Event()

    @task
    async def raises() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("while unwinding") from None

    executing = _execution(raises, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    executing.stop(verdict)
    assert isinstance(await concluding, kind)


async def test_a_lost_run_stays_lost_whatever_comes_later(tools: Tools) -> None:
    begun = asyncio.Event()

    @task
    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    executing = _execution(waits, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    for verdict in (Interrupted(), Lost(), Cancelled()):
        executing.stop(verdict)
    assert await concluding == Lost()


async def test_a_timeout_of_a_thread_is_final_and_the_thread_lingers(tools: Tools) -> None:
    release = threading.Event()

    @task(timeout=0.05)
    def stuck() -> None:
        release.wait(10)
        raise OSError("nobody waits for this any more")

    executing = _execution(stuck, tools)
    failed = await executing.conclude()
    assert isinstance(failed, Failed)
    assert (failed.outcome, failed.final, failed.fault.type) == ("timed_out", True, "TimedOutError")
    assert executing.going_on
    lingering = asyncio.create_task(executing.lingering())
    await asyncio.sleep(0.05)
    assert not lingering.done()
    release.set()
    await asyncio.wait_for(lingering, 20)


async def test_a_timeout_counts_from_the_threads_beginning_and_a_waiting_call_can_be_taken_back(
    tools: Tools,
) -> None:
    release, calls = threading.Event(), []

    @task(timeout=0.05)
    def work(data: str) -> None:
        calls.append(data)

    blocker = tools.threads.submit(release.wait, 10)
    first, second = _execution(work, tools), _execution(work, tools)
    concluding = [asyncio.create_task(each.conclude()) for each in (first, second)]
    await asyncio.sleep(0.15)
    assert not any(each.done() for each in concluding)
    first.stop(Interrupted())
    assert await asyncio.wait_for(concluding[0], 20) == Interrupted()
    release.set()
    assert isinstance(await asyncio.wait_for(concluding[1], 20), Completed)
    assert blocker.result(5)
    assert calls == ["main"]


async def test_a_cancelled_desk_takes_its_handler_with_it(tools: Tools) -> None:
    begun, unwound = asyncio.Event(), asyncio.Event()

    @task
    async def waits() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            unwound.set()

    executing = _execution(waits, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    concluding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await concluding
    assert await executing.ends_within(5)
    assert unwound.is_set()


async def test_a_stubborn_handler_is_named_less_and_less_often(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(execution, "STUBBORN_SECONDS", 0.05)
    begun, release = asyncio.Event(), asyncio.Event()

    @task
    async def stubborn() -> None:
        while not release.is_set():
            begun.set()
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    executing = _execution(stubborn, tools)
    concluding = asyncio.create_task(executing.conclude())
    await begun.wait()
    executing.stop(Cancelled())
    assert not await executing.ends_within(0.5)
    release.set()
    await concluding
    assert 2 <= caplog.text.count("it swallows CancelledError") <= 4
    assert "task stubborn, run run_x goes on" in caplog.text
