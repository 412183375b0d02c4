"""Races and patches: decisions of the code that must come out the same whenever it is executed again."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

from tidemill.durable.children import Call, Failed, Ok, Outcome, join_all
from tidemill.kernel.subjects import child_index, run_of_child

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from tidemill.durable.branch import Place
    from tidemill.durable.script import Script


async def first(script: Script, place: Place, entrants: Sequence[Awaitable[Any]]) -> tuple[int, Any]:
    """Return the number and the value of the first awaitable that is done; the others are cancelled."""
    known = script.recall(place)
    keys: set[str] = set()
    tasks = [_start(script, entrant, keys) for entrant in entrants]
    if known is not None:
        winner = int(known.result["winner"])
        script.asked(known.result["keys"])
    else:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = next(number for number, task in enumerate(tasks) if task.done())
    losers = [task for number, task in enumerate(tasks) if number != winner]
    if script.waits is None and script.drift is None:
        for task in losers:
            task.cancel()
        await asyncio.gather(*losers, return_exceptions=True)
        _close_unbegun([entrant for number, entrant in enumerate(entrants) if number != winner])
    try:
        value = await tasks[winner]
    except Exception:
        if known is None:
            script.owe(functools.partial(_remember, script, place, winner, keys))
        raise
    if known is None:
        await _remember(script, place, winner, keys)
        await _cancel_children(script, entrants, winner)
    return winner, value


def _start(script: Script, entrant: Awaitable[Any], keys: set[str]) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(_await(entrant))
    branch = script.branch_of(task)
    branch.witnesses = (*branch.witnesses, keys)
    return task


def _close_unbegun(entrants: Sequence[Awaitable[Any]]) -> None:
    """Close the coroutines that were cancelled before they began: nobody will await them."""
    for entrant in entrants:
        if inspect.iscoroutine(entrant) and inspect.getcoroutinestate(entrant) == inspect.CORO_CREATED:
            entrant.close()


async def _await(entrant: Awaitable[Any]) -> Any:
    return await entrant


async def _remember(script: Script, place: Place, winner: int, keys: set[str]) -> None:
    await script.remember(place, result={"winner": winner, "keys": sorted(keys)})


async def _cancel_children(script: Script, entrants: Sequence[Awaitable[Any]], winner: int) -> None:
    runs = [
        run_of_child(script.port.run_id, child_index(entrant.place.key, 0))
        for number, entrant in enumerate(entrants)
        if number != winner and isinstance(entrant, Call) and entrant.place.key in script.state.spawned
    ]
    if runs:
        await script.port.cancel_runs(runs, "another one was first")


async def together(script: Script, place: Place, parts: Sequence[Awaitable[Any]]) -> list[Any]:
    """Run parts together and return their results in order; the first failure cancels the others.

    The children among them are joined: the run is woken once for all of them.
    """
    calls = [part for part in parts if isinstance(part, Call)]
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_await(part)) for part in parts if not isinstance(part, Call)]
    if calls:
        tasks.append(loop.create_task(join_all(script, place, calls)))
    try:
        results = await asyncio.gather(*tasks)
    except Exception:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    ended = iter(results.pop()) if calls else iter(())
    others = iter(results)
    return [next(ended) if isinstance(part, Call) else next(others) for part in parts]


async def settle(entrants: Sequence[Awaitable[Any]]) -> list[Outcome[Any]]:
    """Wait for all and return what became of each."""
    results = await asyncio.gather(*entrants, return_exceptions=True)
    return [_outcome(result) for result in results]


def _outcome(result: Any) -> Outcome[Any]:
    if isinstance(result, Exception):
        return Failed(str(result), type(result).__qualname__, getattr(result, "run_id", None) or None)
    if isinstance(result, BaseException):
        raise result
    return Ok(result)


async def patched(script: Script, place: Place) -> bool:
    """Say whether the run hadn't passed this point when the code was changed here; it is asked once."""
    known = script.recall(place)
    if known is not None:
        return bool(known.result)
    if script.replaying:
        return False
    await script.remember(place, result=True)
    return True
