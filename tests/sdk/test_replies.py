"""Replies in tests of handlers: what was answered is seen, once, whoever crashes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tidemill import testing
from tidemill.context import Context
from tidemill.kernel.errors import ContextError
from tidemill.retry import Retry
from tidemill.sync_context import SyncContext
from tidemill.task import task


@task(on="slack.>", reply=True, retry=Retry(max_attempts=2, min_delay=1))
async def answering(text: str, ctx: Context) -> list[bool]:
    first = await ctx.reply({"text": text})
    await ctx.sleep("1h")
    if ctx.attempt == 1 and text == "fail":
        raise ValueError(text)
    return [first, await ctx.reply("again")]


async def test_a_direct_call_shows_its_reply() -> None:
    with testing.active() as session:
        assert await answering("hi") == [True, False]
    [reply] = session.replies
    assert (reply.status, reply.media_type, reply.json()) == (200, "application/json", {"text": "hi"})


async def test_a_direct_call_may_find_nobody() -> None:
    with testing.active() as session:
        session.nobody_waits()
        assert await answering("hi") == [False, False]
    assert len(session.replies) == 1


def test_a_sync_handler_replies_too() -> None:
    @task(on="twilio.>", reply=True)
    def twiml(_: str, ctx: SyncContext) -> bool:
        return ctx.reply("<Response/>", status=201, media_type="text/xml")

    with testing.active() as session:
        assert twiml("hi")
    assert (session.replies[0].status, session.replies[0].text) == (201, "<Response/>")


@pytest.mark.parametrize("text", ["hi", "fail"])
async def test_a_run_replies_once_in_all_its_attempts(text: str) -> None:
    async with testing.play() as stage:
        run = await stage.start(answering, text)
        assert await run.result() == [True, False]
        assert [reply.json() for reply in stage.replies] == [{"text": text}]


async def test_wherever_it_crashes_it_comes_to_the_same() -> None:
    found = await testing.crash_everywhere(answering, "hi")
    assert found.outcome.result == b"[true,false]"


async def test_two_branches_that_reply_at_once_reply_once() -> None:
    @task(on="a.b", reply=True)
    async def both(_: str, ctx: Context) -> list[bool]:
        return list(await asyncio.gather(ctx.reply("a"), ctx.reply("b")))

    async with testing.play() as stage:
        run = await stage.start(both, "hi")
        assert sorted(await run.result()) == [False, True]
        assert len(stage.replies) == 1


async def test_a_step_cant_reply() -> None:
    @task(on="a.b", reply=True)
    async def inside(_: str, ctx: Context) -> Any:
        return await ctx.step("answer", lambda: ctx.reply("hi"))

    with testing.active(), pytest.raises(ContextError, match="inside of step 'answer'"):
        await inside("hi")
