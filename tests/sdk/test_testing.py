from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tidemill.context import Context
from tidemill.event import Event
from tidemill.kernel.errors import ConflictError, PayloadError, RunFailedError
from tidemill.sync_context import SyncContext
from tidemill.task import task
from tidemill.testing import Cancelled, active

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass
class Push:
    after: str


@task
async def notify(text: str) -> int: ...


@task(on="github.push")
async def deploy(push: Push, ctx: Context) -> str:
    ctx.log.info("deploying")
    await notify.trigger(push.after, idempotency_key=ctx.idempotency_key("notify"), delay=5)
    return f"{push.after} {ctx.attempt} {ctx.now():%Y}"


@task(on="slack.command")
async def slash(event: Event[dict[str, str]], ctx: Context) -> str:
    assert ctx.event is event
    return f"{event.data['text']} {event.raw.decode()}"


@task
def blocking(push: Push, ctx: SyncContext) -> bool:
    assert push.after
    return ctx.cancelled


async def test_a_task_is_called_like_a_function_and_its_context_is_supplied() -> None:
    with active(attempt=3, now=NOW) as session:
        assert await deploy(Push("f00")) == "f00 3 2026"
        assert await deploy(push=Push("f00")) == "f00 3 2026"
    first, second = session.triggered
    assert (first.task_id, first.payload, first.options) == ("notify", b'"f00"', {"delay": 5.0})
    assert first.run_id != second.run_id


async def test_bare_data_is_wrapped_into_an_event() -> None:
    with active():
        assert await slash({"text": "hi"}) == 'hi {"text":"hi"}'


async def test_data_that_does_not_fit_the_event_is_refused() -> None:
    wrong: Any = 5
    with active(), pytest.raises(PayloadError, match="the payload doesn't fit"):
        await slash(wrong)


def test_a_sync_handler_is_told_to_stop_by_the_session() -> None:
    with active() as session:
        assert blocking(Push("a")) is False
        session.stopping = True
        assert blocking(Push("a")) is True


async def test_a_key_that_was_used_gives_the_same_run_and_records_nothing() -> None:
    with active() as session:
        runs = [await notify.trigger("a", idempotency_key="k") for _ in range(2)]
        other = await notify.trigger("a", idempotency_key="other")
    assert runs[0].id == runs[1].id != other.id
    assert [seen.idempotency_key for seen in session.triggered] == ["k", "other"]


async def test_a_result_has_to_be_prepared() -> None:
    with active() as session:
        run = await notify.trigger("a")
        with pytest.raises(ConflictError, match="no answer is prepared for runs of task 'notify'"):
            await run.result()
        session.answer(notify, 7)
        assert await run.result() == 7
        session.fail(notify, "no such channel")
        with pytest.raises(RunFailedError, match="no such channel"):
            await run.result()
        wrong: Any = "seven"
        with pytest.raises(PayloadError, match="result: Input should be a valid integer"):
            session.answer(notify, wrong)


async def test_cancellations_are_recorded() -> None:
    with active() as session:
        run = await notify.trigger("a")
        await run.cancel("enough")
    assert session.cancelled == [Cancelled(run.id, "enough")]


async def test_it_holds_for_threads_and_ends_with_the_block() -> None:
    found: list[object] = []
    with active():
        thread = threading.Thread(target=lambda: found.append(blocking(Push("a"))))
        thread.start()
        thread.join()
    assert found == [False]
    with pytest.raises(TypeError, match="needs a context"):
        blocking(Push("a"))


def test_sessions_may_be_nested_and_the_inner_one_counts() -> None:
    with active() as outer:
        with active() as inner:
            notify.trigger_sync("a")
        notify.trigger_sync("b")
    assert [seen.payload for seen in inner.triggered] == [b'"a"']
    assert [seen.payload for seen in outer.triggered] == [b'"b"']
