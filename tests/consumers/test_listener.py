"""The listener on a real broker: no event that a run waits for is missed, and none is taken twice."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from consumers import listener as listener_module
from consumers.listener import Listener
from tests.consumers.conftest import Mill, Process
from tests.patience import until
from tidemill import Context, Event, WaitTimeout, task
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.protocol.records import News
from tidemill.kernel.subjects import new_run

pytestmark = pytest.mark.integration
SOON = 0.05
ROLES = ("router", "mailman", "listener")


@task
async def order(number: int, ctx: Context) -> dict[str, Any]:
    paid = await ctx.wait_for_event("shop.paid", dict, match={"order.id": number}, timeout=60)
    return {"data": paid.data, "id": paid.id, "header": paid.headers.get("x-test")}


async def waiting(mill: Mill, count: int) -> None:
    """Wait until so many waits stand in the directory."""

    async def look() -> bool:
        return len(await mill.broker.waiting.all()) == count

    await until(look)


async def test_an_event_wakes_the_run_whose_values_it_has(mill: Mill) -> None:
    async with mill.engine(*ROLES), mill.worker(order, linger=SOON):
        first, second = await mill.trigger("order", 1), await mill.trigger("order", 2)
        await waiting(mill, 2)
        await mill.post("shop.paid", {"order": {"id": 2}}, id="e2", headers={"x-test": "yes"})
        view = await mill.ended(second)
        assert view.result == {"data": {"order": {"id": 2}}, "id": "e2", "header": "yes"}
        assert (await mill.runs.get(first)).status == "waiting"
        await waiting(mill, 1)  # nobody looks out for what is found


async def test_what_came_before_counts_as_far_as_the_run_looks_back(mill: Mill) -> None:
    @task
    async def back(seconds: float, ctx: Context) -> str:
        found = await ctx.wait_for_event("shop.sent", dict, lookback=seconds, timeout=1, default=None)
        return found.id if found is not None else "nothing"

    async with mill.engine(*ROLES), mill.worker(back, linger=SOON):
        await mill.post("shop.sent", {}, id="early")
        far, near = await mill.trigger("back", 60), await mill.trigger("back", 0)
        assert (await mill.ended(far)).result == "early"
        assert (await mill.ended(near)).result == "nothing"


async def test_no_event_is_missed_at_the_moment_of_the_registration(mill: Mill) -> None:
    """Events are posted all the time; each wait gets the first one behind its entry."""

    @task
    async def ticks(ctx: Context) -> int:
        return (await ctx.wait_for_event("clock.tick", dict, timeout=60)).data["number"]

    begun: dict[int, float] = {}
    posted: dict[int, float] = {}

    async def post_for_ever() -> None:
        for number in range(100_000):
            begun[number] = time.time()
            await mill.post("clock.tick", {"number": number})
            posted[number] = time.time()

    posting = asyncio.create_task(post_for_ever())
    try:
        async with mill.engine(*ROLES), mill.worker(ticks, linger=SOON):
            runs = [await mill.trigger("ticks") for _ in range(20)]
            for run in runs:
                view = await mill.ended(run)
                assert posted[view.result] > view.entries[1].at  # the claim: the wait began behind it
                # Of those that came when the run had been left to wait none was passed over.
                for left in [entry.at for entry in view.entries if entry.record.KIND == "suspend"]:
                    assert not [number for number, at in begun.items() if left < at and number < view.result]
    finally:
        posting.cancel()
        await asyncio.wait({posting})


async def test_a_condition_with_params_decides(mill: Mill) -> None:
    @task
    async def big(least: int, ctx: Context) -> int:
        found = await ctx.wait_for_event(
            "shop.>", dict, where="data.total >= params.least", params={"least": least}, timeout=60
        )
        return found.data["total"]

    async with mill.engine(*ROLES), mill.worker(big, linger=SOON):
        run = await mill.trigger("big", 10)
        await waiting(mill, 1)
        await mill.post("shop.a.b", {"nothing": 1})  # the condition fails on it
        await mill.post("shop.a", b"no json", datacontenttype="text/plain")
        await mill.post("shop.a", {"total": 9})
        await mill.post("shop.b.c", {"total": 12})
        assert (await mill.ended(run)).result == 12


async def test_a_restart_looks_again_and_two_listeners_take_an_event_once(mill: Mill) -> None:
    async with mill.worker(order, linger=SOON):
        run = await mill.trigger("order", 5)
        await waiting(mill, 1)
        await mill.post("shop.paid", {"order": {"id": 5}}, id="first")
        await mill.post("shop.paid", {"order": {"id": 5}}, id="second")
        async with mill.engine("listener"), mill.engine("listener"):  # nobody was there when they came
            await until(lambda: mill.count("SIGNALS"))
            await waiting(mill, 0)
        async with mill.engine("mailman"):
            view = await mill.ended(run)
    assert view.result["id"] == "first"
    items = [i for entry in view.entries if isinstance(entry.record, News) for i in entry.record.items]
    assert [item.who for item in items] == [items[0].who]


async def test_a_listener_that_dies_behind_the_delivery_changes_nothing(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    async with mill.worker(order, linger=SOON), mill.engine("mailman"):
        run = await mill.trigger("order", 5)
        await waiting(mill, 1)
        await mill.post("shop.paid", {"order": {"id": 5}}, id="only")
        with monkeypatch.context() as patched:
            patched.setattr(mill.broker.waiting, "close", dies)
            with pytest.raises(asyncio.CancelledError):
                await Listener(mill.broker).run()
        async with mill.engine("listener"):
            await waiting(mill, 0)
        view = await mill.ended(run)
    items = [i for entry in view.entries if isinstance(entry.record, News) for i in entry.record.items]
    assert (view.result["id"], len(items)) == ("only", 1)


async def test_a_wait_that_times_out_is_over(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_TIDY_SECONDS", 0.1)
    monkeypatch.setattr(listener_module, "_LATE_SECONDS", 0.0)

    @task
    async def patient(ctx: Context) -> str:
        try:
            await ctx.wait_for_event("never.comes", dict, timeout=0.3)
        except WaitTimeout as error:
            return str(error)
        return "came"

    async with mill.engine(*ROLES), mill.worker(patient, linger=SOON):
        view = await mill.ended(await mill.trigger("patient"))
        assert view.result == "no event 'never.comes' within 0.3 s"
        await waiting(mill, 0)


async def test_entries_of_runs_that_are_gone_are_removed(mill: Mill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_TIDY_SECONDS", 0.1)
    facts = {"kind": "event", "pattern": "a.b", "where": None, "params": None, "match": None, "lookback": 0}
    await mill.broker.waiting.open(new_run(), "event:a.b", facts, until=None)
    await mill.broker.waiting.open(new_run(), "token:ship", {"kind": "approval", "name": "ship"}, until=None)
    async with mill.engine(*ROLES), mill.worker(order, linger=SOON):
        alive = await mill.trigger("order", 5)
        await until(lambda: _only(mill, alive))
        assert await mill.runs.signal(alive, "cancel") == "done"
        await waiting(mill, 0)


async def _only(mill: Mill, run: str) -> bool:
    return [facts["run"] for facts in await mill.broker.waiting.all()] == [run]


async def test_a_large_event_travels_as_a_blob_that_the_run_owns(mill: Mill) -> None:
    @task
    async def large(ctx: Context) -> list[Any]:
        found: Event[dict[str, str]] = await ctx.wait_for_event("big.one", dict, timeout=60)
        return [len(found.data["text"]), len(found.raw)]

    text = "x" * (INLINE_LIMIT + 1)
    raw = orjson.dumps({"text": text})
    async with mill.engine(*ROLES), mill.worker(large, linger=SOON):
        inline, stored = await mill.trigger("large"), await mill.trigger("large")
        await waiting(mill, 2)
        blob = await mill.broker.blobs.put("delivery", raw)
        await mill.post("big.one", b"", blob=blob)
        for run in (inline, stored):
            view = await mill.ended(run)
            assert view.result == [len(text), len(raw)]
            assert view.state.end is not None
            assert view.state.end.blobs
            [item] = view.state.boxes["event:event:big.one"].values()
            assert (item.blob or "").startswith(run)


async def test_a_thousand_waits_are_woken_by_a_thousand_events(mill: Mill) -> None:
    runs = [new_run() for _ in range(1000)]
    for number, run in enumerate(runs):
        facts = {
            "kind": "event",
            "pattern": f"kind{number % 50}.done",
            "match": {"id": number},
            "lookback": 0,
        }
        await mill.broker.waiting.open(run, "event:x", facts, until=None)
    async with mill.engine("listener"):
        await asyncio.gather(*(mill.post(f"kind{n % 50}.done", {"id": n}) for n in range(1000)))
        await waiting(mill, 0)
        assert await mill.count("SIGNALS") == 1000


async def test_a_wait_that_cant_be_matched_keeps_no_other_from_it(mill: Mill) -> None:
    broken = {"kind": "event", "pattern": "shop.paid", "where": "date.x == 1", "lookback": 0}
    await mill.broker.waiting.open(new_run(), "event:x", broken, until=None)
    await mill.broker.waiting.open(new_run(), "event:y", {"kind": "event"}, until=None)
    async with mill.engine(*ROLES), mill.worker(order, linger=SOON):
        run = await mill.trigger("order", 1)
        await waiting(mill, 3)
        await mill.broker.bus.publish(mill.names.event("s", "shop.paid"), b"no frame")
        await mill.post("shop.paid", {"order": {"id": 1}})
        assert (await mill.ended(run)).status == "completed"


async def test_the_listener_asks_nothing_while_nobody_waits(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []
    once = Listener._round

    async def counted(self: Listener) -> float:
        rounds.append(await once(self))
        return rounds[-1]

    monkeypatch.setattr(Listener, "_round", counted)
    monkeypatch.setattr(listener_module, "POLL_SECONDS", 0.01)
    listener = Listener(mill.broker, poll=0.01)
    running = asyncio.create_task(listener.run())
    await until(lambda: rounds and rounds[-1] > 1)
    count = len(rounds)
    facts = {"kind": "event", "pattern": "a.b", "lookback": 0}
    await mill.broker.waiting.open(new_run(), "event:x", facts, until=None)
    await until(lambda: len(rounds) > count + 20)  # now it follows the events
    await listener.stop()
    await running
    assert count < 20


async def test_a_wait_that_can_never_match_fails_where_it_is_asked_for(mill: Mill) -> None:
    given: dict[str, dict[str, Any]] = {
        "where": {"where": "data.id == parms.id", "params": {"id": 1}},
        "match": {"match": {"a": {"b": object()}}},
        "params": {"where": "params.a == 1", "params": {"a": {1, object()}}},
    }

    @task
    async def wrong(which: str, ctx: Context) -> None:
        await ctx.wait_for_event(
            "a..b" if which == "type" else "a.b", dict, timeout=9, **given.get(which, {})
        )

    words = {
        "type": "empty part",
        "where": "unknown variable 'parms'",
        "match": "the match can't be serialised: match.a.b",
        "params": "the params can't be serialised",
    }
    async with mill.worker(wrong):
        for which, told in words.items():
            view = await mill.ended(await mill.trigger("wrong", which))
            assert told in view.facts()["error"]["message"]
    assert await mill.broker.waiting.all() == []


async def test_values_may_be_models(mill: Mill) -> None:
    @dataclass
    class Order:
        id: int

    @task
    async def modelled(ctx: Context) -> str:
        found = await ctx.wait_for_event("a.b", dict, match={"order": Order(7)}, timeout=60)
        return found.id

    async with mill.engine(*ROLES), mill.worker(modelled, linger=SOON):
        run = await mill.trigger("modelled")
        await waiting(mill, 1)
        await mill.post("a.b", {"order": {"id": 7}}, id="it")
        assert (await mill.ended(run)).result == "it"


HANDLERS = """
from tidemill import Context, task

@task
async def order(number: int, ctx: Context) -> str:
    paid = await ctx.wait_for_event("shop.paid", dict, match={"id": number}, timeout=120)
    return paid.id
"""


@pytest.mark.crash
async def test_listeners_that_are_killed_lose_no_event(
    mill: Mill, start_worker: Callable[..., Awaitable[Process]]
) -> None:
    first = await start_worker(HANDLERS, TIDEMILL_WORKER__LINGER="0.05")
    second = await start_worker(None, TIDEMILL_WORKER__LINGER="0.05")
    runs = [await mill.trigger("order", number) for number in range(60)]
    await waiting(mill, 60)
    for number in range(60):
        if number == 20:
            first.signal(signal.SIGKILL)
        if number == 40:
            second.signal(signal.SIGKILL)
            await start_worker(None, TIDEMILL_WORKER__LINGER="0.05")
        await mill.post("shop.paid", {"id": number}, id=f"event {number}")
    for number, run in enumerate(runs):
        view = await mill.ended(run, within=60)
        assert view.result == f"event {number}"
        items = [item for box in view.state.boxes.values() for item in box.values()]
        assert len(items) == 1
