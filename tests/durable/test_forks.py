"""Forked runs come to the same end, and never do again what was taken over, wherever they are forked."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.durable.test_crashes import Order, handle, outside
from tests.durable.test_keys import PROGRAMS, Interpreter, played, without_signals_in_races
from tidemill import Abort, Context, Retry, RunFailedError, Step, task
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.protocol.forking import points_of
from tidemill.kernel.subjects import child_index, run_of_child
from tidemill.testing import Stage, play

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS: Counter[str] = Counter()
BROKEN: set[str] = set()


async def do(what: str) -> str:
    CALLS[what] += 1
    if what in BROKEN:
        raise Abort(f"{what} is broken")
    return what


@task
async def part(what: str) -> str:
    return await do(what)


@task
async def slow(what: str, ctx: Context) -> str:
    await ctx.sleep("1d")
    return await ctx.step("slow", do, what)


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLS.clear()
    BROKEN.clear()


def records_of(stage: Stage, run: str) -> list[int]:
    return [entry.seq for entry in stage.state(run).entries[1:]]


@settings(max_examples=60, deadline=None)
@given(PROGRAMS.map(without_signals_in_races), st.integers(0, 10_000))
async def test_a_fork_at_any_record_and_any_part_completes(program: Any, seed: int) -> None:
    interpreter = Interpreter(random.Random(seed))
    async with played(interpreter, program, seed) as (stage, run):
        for point in everywhere(stage, run):
            await checked(stage, run, point, signals=("a", "b"))
        assert stage.repeated == ()


@task
async def echo(number: int, ctx: Context) -> int:
    if number % 3 == 0:
        await ctx.sleep(number)
    if number % 5 == 4:
        raise Abort("never four")
    return await ctx.step("echo", abs, number)


FAMILIES = st.sampled_from(["call", "map", "some", "in time", "trigger", "fails"])
WITH_CHILDREN = st.recursive(
    st.tuples(FAMILIES, st.integers(0, 8))
    | st.tuples(st.sampled_from(["step", "sleep"]), st.sampled_from("ab")),
    lambda inner: st.tuples(
        st.sampled_from(["sequence", "gather", "ctx.gather", "first"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


class Parents(Interpreter):
    """Executes programs that start runs, too."""

    async def execute(self, ctx: Context, program: Any, place: tuple[int, ...]) -> None:
        kind, number = program
        if kind == "call":
            await ctx.settle(echo.call(number))
        elif kind == "map":
            async for _ in ctx.map(echo, range(number), limit=2):
                pass
        elif kind == "some":
            await ctx.settle(*[echo.call(number + one) for one in range(3)], need=1)
        elif kind == "in time":
            await ctx.settle(*[echo.call(number + one) for one in range(3)], timeout=number + 1)
        elif kind == "trigger":
            await echo.trigger(number)
        elif kind == "fails":
            with contextlib.suppress(RunFailedError):
                await ctx.gather(echo.call(number), echo.call(4))
        else:
            await super().execute(ctx, program, place)


def everywhere(stage: Stage, run: str) -> list[Any]:
    """Return all points of a run: its records, the parts that it has done itself, and their children."""
    parts = points_of(stage.state(run).entries)
    own = [spawned for spawned in stage.state(run).spawned.values() if spawned.key in parts]
    family = [
        run_of_child(one.run or run, child_index(one.key, index)) for one in own for index in range(one.count)
    ]
    return [None, *records_of(stage, run), *parts, *family]


async def checked(stage: Stage, run: str, point: Any, *, signals: Sequence[str] = ()) -> str:
    """Fork a run, let the fork come to its end, and return its id."""
    fork = await stage.fork(run, point)
    for name, number in itertools.product(signals, range(12)):
        await stage.send_signal(fork, name, b"%d" % (100 + number), None)
    before = stage.state(fork)
    outcome = await stage.outcome(fork, None)
    assert outcome.state == "completed", (point, outcome)
    assert not before.steps.keys() & stage.executed(fork).keys(), point
    foreign = [one for one in before.spawned.values() if one.run]
    heard = [(key, int(who)) for key, box in before.boxes.items() for who in box if key in before.spawned]
    not_again = [(one.key, index) for one in foreign for index in range(one.count)] + heard
    own = {run_of_child(fork, child_index(key, index)) for key, index in not_again}
    assert not own & set(stage.runs), f"{point}: what was taken over is started again, or cancelled"
    return fork


@settings(max_examples=40, deadline=None)
@given(WITH_CHILDREN, st.integers(0, 10_000))
async def test_a_parent_is_forked_at_any_record_part_and_child(program: Any, seed: int) -> None:
    interpreter = Parents(random.Random(seed))

    @task
    async def interpreting(ctx: Context) -> str:
        await interpreter.execute(ctx, program, ())
        return "done"

    async with play(interpreting, echo, seed=seed) as stage:
        run = await stage.start(interpreting)
        assert await run.result() == "done"
        forks = [await checked(stage, run.id, point) for point in everywhere(stage, run.id)]
        for point in everywhere(stage, forks[seed % len(forks)]):
            await checked(stage, forks[seed % len(forks)], point)
        await stage.still()
        assert stage.repeated == ()


@pytest.mark.timeout(110)
async def test_a_run_with_everything_is_forked_at_every_record_and_part() -> None:
    async with play(seed=3) as stage:
        run = await stage.start(handle, Order(7))
        outside(stage)
        told = await run.result()
        entries = stage.state(run.id).entries
        for point in [None, *records_of(stage, run.id), *points_of(entries), *stage.runs[1:]]:
            fork = await stage.fork(run.id, point)
            for name, value in (("paid", 1), ("paid", 2), ("fetched", "ann")):
                await stage.send_signal(fork, name, orjson.dumps(value), None)
            if "token:ship" not in stage.state(fork).boxes:
                stage.approve("ship", by="ann", comment="go")
            taken = set(stage.state(fork).steps)
            outcome = await stage.outcome(fork, None)
            assert outcome.state == "completed", (point, outcome)
            found = orjson.loads(outcome.result)
            assert {name: found[name] for name in ("receipt", "packed", "approved", "missed", "id")} == {
                name: told[name] for name in ("receipt", "packed", "approved", "missed", "id")
            }
            assert not taken & stage.executed(fork).keys(), point
        assert stage.repeated == ()


async def test_a_run_that_failed_goes_on_in_a_fork_from_where_it_stopped() -> None:
    @task
    async def order(ctx: Context) -> list[str]:
        first, name = await ctx.step("first", do, "first"), str(ctx.uuid())
        return [first, name, ctx.now().isoformat(), await ctx.step("second", do, "second")]

    BROKEN.add("second")
    async with play(order) as stage:
        run = await stage.start(order)
        assert (await stage.outcome(run.id, None)).state == "failed"
        BROKEN.clear()
        await stage.advance("1h")
        told = orjson.loads((await stage.outcome(await stage.fork(run.id), None)).result)
        await stage.advance("1h")
        again = orjson.loads((await stage.outcome(await stage.fork(run.id), None)).result)
    assert CALLS == {"first": 1, "second": 3}
    assert told == again  # the same ids and times as those that the first step belongs to


async def test_one_failed_child_is_done_anew_and_the_others_are_kept() -> None:
    @task
    async def family(ctx: Context) -> list[str]:
        return list(await ctx.gather(*[part.call(name) for name in ("a", "b", "c")]))

    BROKEN.add("b")
    async with play(family, part) as stage:
        run = await stage.start(family)
        assert (await stage.outcome(run.id, None)).state == "failed"
        state = stage.state(run.id)
        failed = next(item.run for item in state.boxes["gather"].values() if not item.ok)
        heard = len(state.boxes["gather"])
        BROKEN.clear()
        fork = await stage.fork(run.id, failed)
        outcome = await stage.outcome(fork, None)
        assert orjson.loads(outcome.result) == ["a", "b", "c"]
        assert sum(CALLS.values()) == 3 + 1 + (3 - heard)
        assert CALLS["b"] == 2


async def test_what_was_triggered_isnt_triggered_again_unless_it_is_chosen() -> None:
    @task
    async def parent(ctx: Context) -> str:
        child = await part.trigger("mail")
        await ctx.step("last", do, "last")
        return child.id

    async with play(parent, part) as stage:
        run = await stage.start(parent)
        child = await run.result()
        await stage.still()
        kept = await stage.fork(run.id, "last")
        assert orjson.loads((await stage.outcome(kept, None)).result) == child
        anew = await stage.fork(run.id, "trigger:part")
        assert orjson.loads((await stage.outcome(anew, None)).result) != child
        await stage.still()
        assert CALLS == {"mail": 2, "last": 3}


async def test_a_cancelled_fork_ends_its_own_children_alone() -> None:
    @task
    async def parent(ctx: Context) -> str:
        await slow.trigger("kept")
        await ctx.step("between", do, "between")
        return await slow.call("own")

    async with play(parent, slow) as stage:
        run = await stage.start(parent)
        await stage.still()
        before = set(stage.runs)
        fork = await stage.fork(run.id)
        await stage.still()
        own = set(stage.runs) - before - {fork}
        assert len(own) == 1  # what wasn't joined is started anew, what was triggered isn't
        await stage.cancel(fork, "enough")
        await stage.still()
        assert {stage.status(one) for one in own} == {"cancelled"}
        assert {stage.status(one) for one in before} == {"waiting"}
        assert await run.result() == "own"
        assert CALLS == {"kept": 1, "own": 1, "between": 1}


async def test_a_decision_that_is_chosen_is_asked_for_anew() -> None:
    @task
    async def ask(ctx: Context) -> str:
        await ctx.step("first", do, "first")
        decision = await ctx.wait_for_approval("ship", timeout="2d", quorum=2)
        return "shipped" if decision.approved else "kept"

    async with play(ask) as stage:
        run = await stage.start(ask)
        stage.approve("ship", by="ann")
        stage.approve("ship", by="bob", after="1h")
        assert await run.result() == "shipped"
        fork = await stage.fork(run.id, "approval:ship")
        await stage.still()
        assert stage.status(fork) == "waiting"
        stage.refuse("ship", by="ann")
        assert orjson.loads((await stage.outcome(fork, None)).result) == "kept"
    assert CALLS == {"first": 1}


async def test_a_question_that_is_open_is_asked_anew_for_a_fork() -> None:
    @task
    async def ask(ctx: Context) -> str:
        first = ctx.step("first", do, "first")
        decision, _ = await ctx.gather(ctx.wait_for_approval("ship", timeout="2d", quorum=2), first)
        return "shipped" if decision.approved else "kept"

    async with play(ask) as stage:
        run = await stage.start(ask)
        stage.approve("ship", by="ann")
        await stage.still()
        await stage.advance("1h")
        stage.approve("ship", by="cal", after="1h")
        fork = await stage.fork(run.id)
        await stage.still()
        assert stage.state(fork).boxes == {}
        assert await run.result() == "shipped"
        assert stage.status(fork) == "waiting"
        later = await stage.fork(run.id)
        assert orjson.loads((await stage.outcome(later, None)).result) == "shipped"
    assert CALLS == {"first": 1}


async def test_forks_of_forks_know_whose_part_it_was() -> None:
    @task
    async def order(ctx: Context) -> list[str]:
        await ctx.step("one", do, "one")
        found = await ctx.gather(*[part.call(name) for name in ("a", "b")])
        await ctx.step("two", do, "two")
        return [*found, str(ctx.uuid())]

    async with play(order, part) as stage:
        run = await stage.start(order)
        told = await run.result()
        second = await stage.fork(run.id, "two")
        assert orjson.loads((await stage.outcome(second, None)).result) == told
        third = await stage.fork(second, "two")
        assert orjson.loads((await stage.outcome(third, None)).result) == told
        with pytest.raises(NotFoundError):
            await stage.fork(second, "one")
        with pytest.raises(NotFoundError):
            await stage.fork(second, "nothing of that name")
    assert CALLS == {"one": 1, "a": 1, "b": 1, "two": 3}


async def test_a_step_that_is_tried_again_begins_with_its_first_try() -> None:
    tries: list[int] = []

    async def flaky() -> int:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OSError("not yet")
        return len(tries)

    @task(retry=Retry(max_attempts=1))
    async def order(ctx: Context) -> int:
        return await ctx.step(Step("flaky", retry=Retry(max_attempts=4, min_delay=60)), flaky)

    async with play(order) as stage:
        run = await stage.start(order)
        assert await run.result() == 3
        fork = await stage.fork(run.id, "flaky")
        assert stage.state(fork).tries == {}
        assert orjson.loads((await stage.outcome(fork, None)).result) == 4


async def test_changed_code_parks_a_fork_as_ever() -> None:
    @task(id="order")
    async def before(ctx: Context) -> None:
        await ctx.step("one", do, "one")
        await ctx.step("two", do, "two")

    @task(id="order")
    async def after(ctx: Context) -> None:
        await ctx.step("uno", do, "one")

    async with play(before) as stage:
        run = await stage.start(before)
        await run.result()
        stage.serve(after)
        fork = await stage.fork(run.id, "two")
        await stage.still()
        assert stage.status(fork) == "parked"
