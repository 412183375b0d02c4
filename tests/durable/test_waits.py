"""Waits: early and late, in time or not, side by side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill import Approval, Context, RunFailedError, WaitTimeout, task
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.protocol import records
from tidemill.testing import play


@dataclass
class Ship:
    canary: int


async def test_sleeps_of_any_length_end_at_their_moment_and_hold_nothing() -> None:
    @task
    async def sleeping(ctx: Context) -> list[str]:
        begun = ctx.now()
        await ctx.sleep("30d")
        month = ctx.now()
        await ctx.sleep(until=month + timedelta(days=335))
        await ctx.sleep(until=begun)
        await ctx.sleep(0)
        return [str(month - begun), str(ctx.now() - begun)]

    async with play(now=datetime(2026, 1, 1, tzinfo=UTC)) as stage:
        run = await stage.start(sleeping)
        await stage.still()
        assert stage.status(run.id) == "waiting"
        assert await run.result() == ["30 days, 0:00:00", "365 days, 0:00:00"]
        assert stage.now() == datetime(2027, 1, 1, tzinfo=UTC)


async def test_short_sleeps_stay_in_memory() -> None:
    @task
    async def napping(ctx: Context) -> None:
        await asyncio.gather(ctx.sleep(0.01), ctx.sleep(0.02))

    async with play(linger=1.0) as stage:
        run = await stage.start(napping)
        await run.result()
        assert not [one for one in stage.journal(run.id) if isinstance(one, records.Suspend)]


async def test_signals_that_come_early_are_kept_in_order() -> None:
    @task
    async def reading(ctx: Context) -> list[int]:
        await ctx.sleep("1h")
        return [await ctx.wait_for_signal("go", int, timeout="1h") for _ in range(3)]

    async with play() as stage:
        run = await stage.start(reading)
        for number in (3, 1):
            stage.signal("go", number)
        stage.signal("go", 2, after="90m")
        assert await run.result() == [3, 1, 2]


async def test_a_wait_times_out_once_and_stays_so_though_the_signal_comes_later() -> None:
    seen: list[str] = []

    @task
    async def late(ctx: Context) -> str:
        try:
            await ctx.wait_for_signal("go", int, timeout="1h")
        except WaitTimeout as error:
            seen.append(str(error))
        await ctx.sleep("2h")
        return "after"

    async with play() as stage:
        run = await stage.start(late)
        stage.signal("go", 1, after="2h")
        assert await run.result() == "after"
        timed_out = [
            r for r in stage.journal(run.id) if isinstance(r, records.Step) and r.outcome == "timed_out"
        ]
        assert len(timed_out) == 1
    assert seen == ["no signal 'go' within 3600 s"] * 2


async def test_a_timeout_that_nobody_catches_fails_the_run() -> None:
    @task
    async def late(ctx: Context) -> None:
        await ctx.wait_for_signal("go", int, timeout="1h")

    async with play() as stage:
        with pytest.raises(RunFailedError, match="no signal 'go'"):
            await (await stage.start(late)).result()


async def test_data_that_does_not_fit_fails_the_run_with_the_path() -> None:
    @task
    async def strict(ctx: Context) -> None:
        await ctx.wait_for_signal("ship", Ship, timeout="1h")

    async with play() as stage:
        run = await stage.start(strict)
        stage.signal("ship", {"canary": "many"})
        with pytest.raises(RunFailedError, match="canary"):
            await run.result()


async def test_approvals_bring_who_when_comment_and_form() -> None:
    seen: list[Approval[Ship]] = []

    @task
    async def shipping(ctx: Context) -> bool:
        found = await ctx.wait_for_approval("ship", Ship, timeout="1d", approvers=["ann", "bob"])
        seen.append(found)
        return found.approved

    async with play() as stage:
        run = await stage.start(shipping)
        stage.approve("ship", by="bob", comment="go", data={"canary": 5}, after="3h")
        begun = stage.now()
        assert await run.result() is True
    assert seen == [
        Approval(approved=True, by="bob", at=begun + timedelta(hours=3), comment="go", data=Ship(5))
    ]


@pytest.mark.parametrize(
    ("said", "approved", "by"),
    [
        ([("ann", True), ("bob", True)], True, "bob"),
        ([("ann", True), ("bob", False)], False, "bob"),
        ([("ann", False)], False, "ann"),
        ([("ann", True), ("ann", True), ("eve", True)], True, "eve"),
    ],
)
async def test_a_quorum_says_yes_and_one_says_no(
    said: list[tuple[str, bool]], *, approved: bool, by: str
) -> None:
    @task
    async def shipping(ctx: Context) -> list[Any]:
        found = await ctx.wait_for_approval("ship", timeout="1d", quorum=2)
        return [found.approved, found.by]

    async with play() as stage:
        run = await stage.start(shipping)
        for who, yes in said:
            (stage.approve if yes else stage.refuse)("ship", by=who)
        assert await run.result() == [approved, by]


async def test_who_may_not_decide_is_refused() -> None:
    @task
    async def shipping(ctx: Context) -> None:
        await ctx.wait_for_approval("ship", timeout="1d", approvers=["ann"])

    async with play() as stage:
        run = await stage.start(shipping)
        stage.approve("ship", by="eve")
        with pytest.raises(ConflictError, match="eve doesn't decide on 'ship'"):
            await run.result()


async def test_events_are_matched_by_type_data_and_condition_and_looked_back_for() -> None:
    @task
    async def waiting(ctx: Context) -> list[Any]:
        paid = await ctx.wait_for_event(
            "stripe.invoice.*", dict[str, Any], match={"object.id": 7}, timeout="1d", lookback="1h"
        )
        big = await ctx.wait_for_event(
            "order.>", Ship, where="data.canary > params.least", params={"least": 3}, timeout="1d"
        )
        none = await ctx.wait_for_event("never", Ship, timeout="1m", default=None)
        return [paid.type, paid.data["object"], big.data.canary, none]

    async with play() as stage:
        stage.event("stripe.invoice.paid", {"object": {"id": 7, "n": 1}})
        await stage.advance("30m")
        run = await stage.start(waiting)
        stage.event("stripe.invoice.paid", {"object": {"id": 8}})
        stage.event("order.made", {"canary": 3}, after="1h")
        stage.event("order.made", {"canary": 4}, after="2h")
        assert await run.result() == ["stripe.invoice.paid", {"id": 7, "n": 1}, 4, None]


async def test_a_token_has_an_address_before_it_is_awaited() -> None:
    told: list[str] = []

    @task
    async def asking(ctx: Context) -> int:
        token = ctx.token("callback", Ship, timeout="1d")
        await ctx.step("tell", told.append, token.url)
        return (await token).canary

    async with play() as stage:
        run = await stage.start(asking)
        stage.complete("callback", Ship(9), after="1h")
        assert await run.result() == 9
    assert told == [f"https://tidemill.test/t/{run.id}/callback"]


async def test_waits_side_by_side_are_one_suspension_for_the_soonest() -> None:
    @task
    async def many(ctx: Context) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            signal = group.create_task(ctx.wait_for_signal("go", int, timeout="3d"))
            nap = group.create_task(ctx.sleep("1h"))
            decision = group.create_task(ctx.wait_for_approval("ship", timeout="2d"))
        return [signal.result(), nap.result(), decision.result().approved]

    async with play() as stage:
        run = await stage.start(many)
        await stage.still()
        (suspend,) = [one for one in stage.journal(run.id) if isinstance(one, records.Suspend)]
        assert {wait.kind for wait in suspend.waits} == {"signal", "sleep", "approval"}
        assert suspend.until == stage.now().timestamp() + 3600
        stage.signal("go", 4)
        stage.approve("ship")
        assert await run.result() == [4, None, True]
