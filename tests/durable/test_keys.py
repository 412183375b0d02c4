"""What is remembered is found again, whatever the interleaving of the code's branches."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill import Context, task
from tidemill.testing import Stage, play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NAMES = st.sampled_from(["a", "b"])
LEAVES = st.tuples(st.sampled_from(["step", "sleep", "signal"]), NAMES)
PROGRAMS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from(["sequence", "gather", "group", "ctx.gather", "first"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


class Interpreter:
    """Executes a program in a handler; what each of its places was told is kept."""

    def __init__(self, chance: random.Random) -> None:
        self.told: defaultdict[tuple[int, ...], set[Any]] = defaultdict(set)
        self.executed: list[int] = []
        self._numbers = itertools.count()
        self._chance = chance

    async def dawdle(self) -> None:
        """Let the others go first, sometimes: differently in every execution."""
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)

    async def work(self) -> int:
        await self.dawdle()
        number = next(self._numbers)
        self.executed.append(number)
        return number

    async def execute(self, ctx: Context, program: Any, place: tuple[int, ...]) -> None:
        kind, rest = program
        await self.dawdle()
        if kind == "step":
            self.told[place].add(await ctx.step(rest, self.work))
        elif kind == "sleep":
            await ctx.sleep(60 if rest == "a" else 90)
        elif kind == "signal":
            self.told[place].add(await ctx.wait_for_signal(rest, int, timeout="9d"))
        elif kind == "sequence":
            for index, part in enumerate(rest):
                await self.execute(ctx, part, (*place, index))
        else:
            await self.together(kind, ctx, rest, place)

    async def together(self, kind: str, ctx: Context, parts: list[Any], place: tuple[int, ...]) -> None:
        branches = [self.execute(ctx, part, (*place, index)) for index, part in enumerate(parts)]
        if kind == "gather":
            await asyncio.gather(*branches)
        elif kind == "ctx.gather":
            await ctx.gather(*branches)
        elif kind == "first":
            winner, _ = await ctx.first(*branches)
            self.told[*place, -1].add(winner)
        else:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch)


def without_signals_in_races(program: Any, *, racing: bool = False) -> Any:
    """Replace signals inside of races: which one a loser would have taken isn't decided by anything."""
    kind, rest = program
    if kind == "signal":
        return ("sleep", rest) if racing else program
    if isinstance(rest, list):
        inside = racing or kind == "first"
        return kind, [without_signals_in_races(part, racing=inside) for part in rest]
    return program


@contextlib.asynccontextmanager
async def played(interpreter: Interpreter, program: Any, seed: int) -> AsyncIterator[tuple[Stage, str]]:
    """Play a program to its end, with more signals than it can ask for; yield its stage and its run's id."""

    @task
    async def interpreting(ctx: Context) -> str:
        await interpreter.execute(ctx, program, ())
        return "done"

    async with play(seed=seed) as stage:
        run = await stage.start(interpreting)
        for number in range(12):
            stage.signal("a", number, after=number * 40)
            stage.signal("b", number, after=number * 70)
        assert await run.result() == "done"
        yield stage, run.id


@settings(max_examples=150, deadline=None)
@given(PROGRAMS.map(without_signals_in_races), st.integers(0, 10_000))
async def test_every_place_of_the_code_is_told_the_same_in_every_execution(program: Any, seed: int) -> None:
    interpreter = Interpreter(random.Random(seed))
    async with played(interpreter, program, seed) as (stage, _):
        assert stage.repeated == ()
    assert {place: told for place, told in interpreter.told.items() if len(told) > 1} == {}
