"""What a worker does with runs, on a real broker: inputs, results, failures, and what is kept of them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from consumers.loader import AnyTask
from tests.consumers.conftest import Mill
from tests.patience import until
from tidemill import Abort, Context, Event, Retry, RetryAfter, SyncContext, task
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT

pytestmark = pytest.mark.integration
QUICK = Retry(max_attempts=3, min_delay=0.05, max_delay=0.05, jitter=False)
ONCE = Retry(max_attempts=1)


@dataclass
class Push:
    ref: str
    size: int


async def test_async_and_sync_handlers_return_their_results(mill: Mill) -> None:
    @task
    async def length(push: Push, ctx: Context) -> int:
        assert ctx.attempt == 1
        return len(push.ref) + push.size

    @task
    def shout(push: Push, ctx: SyncContext) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return push.ref.upper() + ctx.run_id[:4]

    @task
    async def nothing() -> None: ...

    async with mill.worker(length, shout, nothing):
        payload = {"ref": "main", "size": 3}
        runs = [await mill.trigger(name, payload) for name in ("length", "shout")]
        runs.append(await mill.trigger("nothing"))
        views = [await mill.ended(run) for run in runs]
    assert [(view.status, view.result) for view in views] == [
        ("completed", 7),
        ("completed", "MAINrun_"),
        ("completed", None),
    ]
    await mill.empty("TICKETS")


async def test_an_event_reaches_its_handler_byte_for_byte(mill: Mill) -> None:
    seen: list[Event[Any]] = []

    @task(on="test.push")
    async def keep(event: Event[Any]) -> None:
        seen.append(event)

    async with mill.engine(), mill.worker(keep):
        await mill.post("test.push", b'{ "ref" :\t"main" }', headers={"x-id": "7"}, subject="a/b")
        await until(lambda: seen)
    [event] = seen
    assert (event.raw, event.data, event.subject) == (b'{ "ref" :\t"main" }', {"ref": "main"}, "a/b")
    assert event.headers == {"x-id": "7"}


async def test_an_event_whose_body_is_no_json_reaches_a_handler_of_bytes(mill: Mill) -> None:
    """As it was released from the quarantine."""
    seen: list[tuple[bytes, object]] = []

    @task(on="test.odd")
    async def odd(event: Event) -> None:  # type: ignore[type-arg] # the point
        seen.append((event.raw, event.data))

    async with mill.engine(), mill.worker(odd):
        await mill.post("test.odd", b"\xff no json")
        await until(lambda: seen)
        await mill.empty("TICKETS")
    assert seen == [(b"\xff no json", None)]
    assert await mill.count("DEAD") == 0


async def test_a_payload_that_does_not_fit_fails_at_once_and_names_the_field(mill: Mill) -> None:
    @task(on="test.push", retry=QUICK)
    async def length(push: Push) -> int:
        return push.size

    async with mill.engine(), mill.worker(length):
        await mill.post("test.push", {"ref": "main", "size": "many"})
        [letter] = await until(mill.letters)
    assert (letter.facts["outcome"], len(letter.facts["attempts"])) == ("failed", 1)
    error = letter.facts["attempts"][0]
    assert error["type"] == "PayloadError"
    assert "size" in error["message"]


async def test_a_result_that_can_not_be_serialised_fails_at_once_and_names_the_path(mill: Mill) -> None:
    calls: list[int] = []

    @task(retry=QUICK)
    async def broken() -> dict[str, Any]:
        calls.append(1)
        return {"items": [1, {"when": object()}]}

    async with mill.worker(broken):
        view = await mill.ended(await mill.trigger("broken"))
    assert (view.status, len(calls)) == ("failed", 1)
    assert "items[1].when" in view.facts()["error"]["message"]


async def test_large_inputs_and_results_travel_as_blobs(mill: Mill) -> None:
    text = "x" * (INLINE_LIMIT + 1)

    @task
    async def double(data: str) -> str:
        return data * 2

    @task(on="test.large")
    async def measure(event: Event[Any]) -> list[int]:
        return [len(event.raw), len(event.data)]

    async with mill.engine(), mill.worker(double, measure):
        view = await mill.ended(await mill.trigger("double", text))
        raw = orjson.dumps(text)
        blob = await mill.broker.blobs.put("delivery", raw)
        await mill.post("test.large", b"", blob=blob)
        [other] = await until(lambda: _ended_of(mill, "measure"))
    assert view.result == text * 2
    assert view.state.created is not None
    assert view.state.created.blob is not None
    assert other.result == [len(raw), len(text)]


async def _ended_of(mill: Mill, name: str) -> list[Any]:
    return [view for view in await mill.runs.list(task=name) if view.ended]


async def test_a_run_whose_input_is_gone_fails_at_once(mill: Mill) -> None:
    @task(retry=QUICK)
    async def double(data: str) -> str:
        return data * 2

    async with mill.worker(double):
        run = await mill.trigger("double", "x" * INLINE_LIMIT, delay=0.3)
        await mill.broker.blobs.delete_of(run)
        view = await mill.ended(run)
    assert view.status == "failed"
    assert "input is gone" in view.facts()["error"]["message"]
    assert len(view.facts()["errors"]) == 1


async def test_a_retry_waits_in_the_broker_and_holds_no_ticket(mill: Mill) -> None:
    attempts: list[int] = []

    @task(retry=Retry(max_attempts=3, min_delay=2, factor=1, jitter=False))
    async def flaky(ctx: Context) -> str:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError(f"number {ctx.attempt}")
        return "at last"

    async with mill.worker(flaky):
        run = await mill.trigger("flaky")
        waiting = await mill.when(run, lambda view: view.status == "delayed")
        assert waiting.facts()["next_at"]

        async def free() -> bool:
            return bool((await mill.consumer("flaky"))["num_ack_pending"] == 0)

        await until(free)
        assert len(attempts) < 3, "it was free before the last attempt"
        assert await mill.count("TICKETS") == 1  # its timer
        view = await mill.ended(run)
    assert (view.status, view.result, attempts) == ("completed", "at last", [1, 2, 3])
    assert [error["message"] for error in view.facts()["errors"]] == ["number 1", "number 2"]
    await mill.empty("TICKETS")


async def test_five_failing_runs_with_a_long_delay_do_not_delay_the_sixth(mill: Mill) -> None:
    @task(retry=Retry(max_attempts=2, min_delay=60, jitter=False), concurrency=5)
    async def work(kind: str) -> str:
        if kind == "bad":
            raise ConnectionError
        return "done"

    async with mill.worker(work):
        failing = [await mill.trigger("work", "bad") for _ in range(5)]
        for run in failing:
            await mill.when(run, lambda view: view.status == "delayed")
        view = await mill.ended(await mill.trigger("work", "good"))  # a minute before them
    assert view.result == "done"
    assert await mill.count("TICKETS") == 5


async def test_retry_after_overrules_the_delay_and_abort_ends(mill: Mill) -> None:
    @task(retry=Retry(max_attempts=5, min_delay=60))
    async def patient(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise RetryAfter(0.1)
        if ctx.attempt == 2:
            raise RetryAfter(datetime.now(UTC) + timedelta(seconds=0.1))
        if ctx.attempt == 3:
            raise RetryAfter(datetime.now(UTC) - timedelta(hours=1))
        return ctx.attempt

    @task(retry=Retry(max_attempts=5, min_delay=0))
    async def hopeless() -> None:
        raise Abort("no such account")

    @task(retry=Retry(max_attempts=5, min_delay=0, on=(OSError,), never_on=(FileNotFoundError,)))
    async def picky(ctx: Context) -> None:
        raise (ConnectionError if ctx.attempt == 1 else FileNotFoundError)("x")

    async with mill.worker(patient, hopeless, picky):
        first, second, third = [await mill.trigger(name) for name in ("patient", "hopeless", "picky")]
        assert (await mill.ended(first)).result == 4
        aborted = await mill.ended(second)
        picked = await mill.ended(third)
    assert (aborted.status, aborted.facts()["attempt"]) == ("failed", 1)
    assert aborted.facts()["error"] == {"type": "Abort", "message": "no such account"}
    assert [error["type"] for error in picked.facts()["errors"]] == ["ConnectionError", "FileNotFoundError"]


class _OddError(BaseException):
    pass


class _ExitingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(4)

    __repr__ = __str__


async def test_whatever_a_handler_raises_is_a_failed_attempt(mill: Mill) -> None:
    @task(retry=ONCE)
    async def exits() -> None:
        raise SystemExit(3)

    @task(retry=ONCE)
    def exits_in_thread() -> None:
        raise SystemExit(3)

    @task(retry=ONCE)
    async def odd() -> None:
        raise _OddError("odd")

    @task(retry=ONCE)
    def stops_iterating() -> None:
        next(iter([]))

    @task(retry=ONCE)
    def interrupts() -> None:
        raise KeyboardInterrupt

    @task(retry=ONCE)
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    @task(retry=ONCE)
    async def bad_text() -> None:
        raise OSError("no file \udcff")

    @task(retry=ONCE)
    async def exits_when_shown() -> None:
        raise _ExitingError

    @task(retry=ONCE)
    async def exits_when_its_code_is_shown() -> None:
        raise SystemExit(_ExitingError())

    tasks: list[AnyTask] = [
        exits,
        exits_in_thread,
        odd,
        stops_iterating,
        interrupts,
        cancels_itself,
        bad_text,
        exits_when_shown,
        exits_when_its_code_is_shown,
    ]
    async with mill.worker(*tasks):
        runs = [await mill.trigger(each.id) for each in tasks]
        views = [await mill.ended(run) for run in runs]
    assert {view.status for view in views} == {"failed"}
    errors = [view.facts()["error"] for view in views]
    assert [error["type"].rpartition(".")[2] for error in errors] == [
        *["RuntimeError"] * 2,
        "_OddError",
        *["RuntimeError"] * 2,
        "CancelledError",
        "OSError",
        "_ExitingError",
        "RuntimeError",
    ]
    assert errors[0]["message"] == errors[1]["message"] == "the handler called sys.exit(3)"
    assert errors[6]["message"] == "no file \\udcff"
    assert errors[7]["message"] == "(its message can't be shown: SystemExit)"
    assert errors[8]["message"] == "the handler called sys.exit((its code can't be shown: SystemExit))"
    assert await mill.count("DEAD") == len(tasks)


async def test_dead_letters_hold_every_attempt_and_bring_the_run_back(mill: Mill) -> None:
    mended = False

    @task(on="test.push", retry=QUICK)
    async def fragile(push: Push, ctx: Context) -> str:
        if not mended:
            raise ValueError(f"attempt {ctx.attempt} of {push.ref}")
        return push.ref

    async with mill.engine(), mill.worker(fragile):
        await mill.post("test.push", {"ref": "main", "size": 1}, id="e1")
        [letter] = await until(mill.letters)
        errors = letter.details()["errors"]
        assert [error["message"] for error in errors] == [f"attempt {n} of main" for n in (1, 2, 3)]
        assert [error["attempt"] for error in errors] == [1, 2, 3]
        assert all("test_worker.py" in error["traceback"] for error in errors)
        assert letter.facts["event"]["id"] == "e1"
        assert orjson.loads(letter.raw) == {"ref": "main", "size": 1}

        assert (await mill.runs.get(letter.key)).status == "failed"
        mended = True
        assert await mill.dead.retry(letter.key) == "done"
        view = await mill.when(letter.key, lambda view: view.status == "completed")
    assert view.result == "main"
    assert await mill.count("DEAD") == 0
    await mill.empty("TICKETS")


async def test_handlers_see_the_context_variables_of_their_start_and_keep_their_own(mill: Mill) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    @task
    async def one(data: str) -> None:
        seen.append(variable.get())
        variable.set(data)
        await asyncio.sleep(0)
        assert variable.get() == data

    @task
    def two(data: str) -> None:
        seen.append(variable.get())
        variable.set(data)

    async with mill.worker(one, two, threads=1):
        runs = [await mill.trigger(name, letter) for name in ("one", "two") for letter in "abc"]
        for run in runs:
            assert (await mill.ended(run)).status == "completed"
    assert seen == ["none"] * 6


async def test_handlers_trigger_through_the_worker(mill: Mill) -> None:
    @task
    async def child(data: int) -> int:
        return data * 10

    @task
    async def parent() -> int:
        run = await child.trigger(4)
        return await run.result(timeout=10)

    @task
    def sync_parent() -> str:
        return child.trigger_sync(5).id

    @task
    def parent_with_a_loop() -> int:
        async def talk() -> int:
            return await (await child.trigger(6)).result(timeout=10)

        return asyncio.run(talk())

    async with mill.worker(child, parent, sync_parent, parent_with_a_loop):
        first, second, third = [
            await mill.trigger(name) for name in ("parent", "sync_parent", "parent_with_a_loop")
        ]
        assert (await mill.ended(first)).result == 40
        started = (await mill.ended(second)).result
        assert (await mill.ended(started)).result == 50
        assert (await mill.ended(third)).result == 60


async def test_more_sync_handlers_than_threads_wait_without_using_up_their_timeout(mill: Mill) -> None:
    @task(timeout=0.8, retry=ONCE)
    def slow() -> None:
        threading.Event().wait(0.4)

    async with mill.worker(slow, threads=1):
        runs = [await mill.trigger("slow") for _ in range(4)]
        views = [await mill.ended(run) for run in runs]
    assert {view.status for view in views} == {"completed"}
