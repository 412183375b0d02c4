"""Tasks with a context that are called directly while testing is active."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tidemill import Context, Event, RunFailedError, Step, task
from tidemill.kernel.errors import ConflictError, ContextError
from tidemill.retry import Retry
from tidemill.testing import active

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@dataclass
class Form:
    canary: int


@task
async def child(number: int) -> int:
    return number


async def quick() -> str:
    return "quick"


@task
async def everything(name: str, ctx: Context) -> dict[str, Any]:
    first = await ctx.step("fetch", lambda: {"name": name})
    await ctx.sleep("30d")
    slept = ctx.now()
    signals = [await ctx.wait_for_signal("go", int, timeout="1h") for _ in range(2)]
    decision = await ctx.wait_for_approval("ship", Form, timeout="1d", approvers=["ann", "bob"], quorum=2)
    event: Event[Form] = await ctx.wait_for_event(
        "order.*",
        Form,
        match={"canary": 2},
        where="data.canary > params.least",
        params={"least": 1},
        timeout="1d",
    )
    none = await ctx.wait_for_event("order.*", Form, timeout="1h", default=None) if name == "twice" else None
    token = ctx.token("callback", int, timeout="1d")
    children = await ctx.gather(child.call(1), child.call(2))
    mapped = await ctx.map(child, [1, 2, 3])
    won = await ctx.first(ctx.step("quick", quick), ctx.sleep("1h"))
    patched = await ctx.patched("new")
    return {
        "first": first,
        "slept": slept,
        "signals": signals,
        "by": decision.by,
        "canary": decision.data.canary,
        "event": event.data.canary,
        "none": none,
        "token": await token,
        "children": children,
        "mapped": mapped,
        "won": won,
        "patched": patched,
    }


async def test_steps_run_sleeps_are_over_and_answers_are_there() -> None:
    with active(now=NOW) as session:
        session.signal("go", 1)
        session.signal("go", 2)
        session.approve("ship", by="ann", data={"canary": 1})
        session.approve("ship", by="bob", data={"canary": 5})
        session.event("order.made", {"canary": 1})
        session.event("order.made", {"canary": 2})
        session.complete("callback", 9)
        session.answer_with(child, lambda number: number * 10)
        found = await everything("once")
    assert found == {
        "first": {"name": "once"},
        "slept": datetime(2026, 12, 22, tzinfo=UTC),
        "signals": [1, 2],
        "by": "bob",
        "canary": 5,
        "event": 2,
        "none": None,
        "token": 9,
        "children": [10, 20],
        "mapped": [10, 20, 30],
        "won": (0, "quick"),
        "patched": True,
    }
    assert [one.payload for one in session.triggered] == [b"1", b"2", b"1", b"2", b"3"]


@task
async def signalled(ctx: Context) -> int:
    return await ctx.wait_for_signal("go", int, timeout="1h")


@task
async def approved(ctx: Context) -> bool:
    return (await ctx.wait_for_approval("ship", timeout="1h")).approved


@task
async def happened(ctx: Context) -> int:
    return (await ctx.wait_for_event("order.made", Form, timeout="1h")).data.canary


@task
async def completed(ctx: Context) -> int:
    return await ctx.token("callback", int, timeout="1h")


@task
async def called(_: Context) -> int:
    return await child.call(1)


@pytest.mark.parametrize(
    ("code", "what", "hint"),
    [
        (signalled, "signal 'signal:go'", r"session.signal\("),
        (approved, "approval 'approval:ship'", r"session.approve\("),
        (happened, "event 'event:order.made'", r"session.event\("),
        (completed, "token 'token:callback'", r"session.complete\("),
        (called, "children 'call:child'", r"session.answer\("),
    ],
)
async def test_a_wait_without_an_answer_raises_with_what_to_prepare(code: Any, what: str, hint: str) -> None:
    with active(), pytest.raises(ConflictError, match=f"no answer is prepared for {what}\n.*{hint}"):
        await code()


async def test_a_no_and_a_failing_child_are_prepared_too() -> None:
    with active() as session:
        session.refuse("ship", by="ann", comment="not now")
        assert await approved() is False
        session.fail(child, "broken")
        with pytest.raises(RunFailedError, match="broken"):
            await called()


async def test_steps_are_tried_again_at_once_and_raise_what_they_raise() -> None:
    calls: list[int] = []

    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("again")
        return len(calls)

    async def fails() -> None:
        raise OSError("for good")

    @task
    async def trying(ctx: Context) -> int:
        found = await ctx.step(Step("flaky", retry=Retry(5, min_delay="1m")), flaky)
        with pytest.raises(OSError, match="for good"):
            await ctx.step("fails", fails)
        return found

    with active():
        assert await trying() == 3


async def test_misuse_is_told_as_in_a_run() -> None:
    @task
    async def nesting(ctx: Context) -> None:
        async def outer() -> None:
            await ctx.sleep(1)

        await ctx.step("outer", outer)

    with active(), pytest.raises(ContextError, match="sleep inside of step 'outer'"):
        await nesting()


async def test_a_context_that_a_test_made_itself_says_where_to_get_one() -> None:
    with pytest.raises(TypeError, match=r"tidemill.testing.active\(\)"):
        await signalled()
