"""Races and patches: decisions of the code that must come out the same whenever it is executed again."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any

from tidemill.durable.branch import inside
from tidemill.durable.children import Call, Failed, Ok, Outcome, join_all
from tidemill.kernel.subjects import child_index, run_of_child

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from tidemill.durable.branch import Branch, Place
    from tidemill.durable.script import Script
    from tidemill.kernel.protocol.records import Step


async def first(script: Script, place: Place, entrants: Sequence[Awaitable[Any]]) -> tuple[int, Any]:
    """Return the number and the value of the first awaitable that is done; the others are cancelled."""
    await script.arrive()
    script.ask(place)
    known = script.state.steps.get(place.key)
    if known is not None:
        script.check(place, known.after)
    tasks = [_start(entrant) for entrant in entrants]
    lines = [script.branch_of(task) for task in tasks]
    try:
        winner = await _winner(script, place, known, tasks)
        losers = [task for number, task in enumerate(tasks) if number != winner]
        if script.waits is None and script.drift is None:
            await _cancel(losers)
            close_unbegun([entrant for number, entrant in enumerate(entrants) if number != winner])
        value = await tasks[winner]
    except asyncio.CancelledError:
        await _cancel(tasks)
        close_unbegun(entrants)
        raise
    except Exception:
        keys = _keys(lines)
        if known is None:
            script.owe(functools.partial(_remember, script, place, winner, keys))
        raise
    keys = _keys(lines)
    if known is None:
        await _remember(script, place, winner, keys)
    else:
        keys = set(known.result["keys"])
        script.told(place, known.at)
    _catch_up(lines)
    await _cancel_children(script, keys - _keys([lines[winner]]), "another one was first")
    return winner, value


async def _winner(
    script: Script, place: Place, known: Step | None, tasks: Sequence[asyncio.Task[Any]]
) -> int:
    """Return who was first when the race was run, or is now."""
    if known is not None:
        script.asked(known.result["keys"])
        await asyncio.sleep(0)  # the losers begin, so that they can end what they were given
        return int(known.result["winner"])
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if script.waits is None and script.drift is None:
        await script.begin(place)  # what a loser has done before is asked for first
    return next(number for number, task in enumerate(tasks) if task.done())


def _start(part: Awaitable[Any]) -> asyncio.Task[Any]:
    """Return the task of a part: its own, where the handler has started one already."""
    return part if isinstance(part, asyncio.Task) else asyncio.get_running_loop().create_task(_await(part))


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def close_unbegun(entrants: Sequence[Awaitable[Any]]) -> None:
    """Close the coroutines that were cancelled before they began: nobody will await them."""
    for entrant in entrants:
        if inspect.iscoroutine(entrant) and inspect.getcoroutinestate(entrant) == inspect.CORO_CREATED:
            entrant.close()


async def _await(entrant: Awaitable[Any]) -> Any:
    return await entrant


def _keys(lines: Sequence[Branch]) -> set[str]:
    return set[str]().union(*(line.keys() for line in lines))


def _catch_up(lines: Sequence[Branch]) -> None:
    branch = inside()
    if branch is not None:
        branch.catch_up(lines)


async def _remember(script: Script, place: Place, winner: int, keys: set[str]) -> None:
    await script.remember(place, result={"winner": winner, "keys": sorted(keys)})


async def _cancel_children(script: Script, keys: Iterable[str], reason: str) -> None:
    """Ask for the end of the children that nobody waits for any more, those that were triggered excepted."""
    state, runs = script.state, list[str]()
    for key in sorted(keys):
        spawned = state.spawned.get(key)
        if spawned is not None and not spawned.run and not key.rpartition("/")[2].startswith("trigger:"):
            ended = state.boxes.get(key, {})
            numbers = (number for number in range(spawned.count) if str(number) not in ended)
            runs += [run_of_child(script.port.run_id, child_index(key, number)) for number in numbers]
    if runs:
        await script.port.cancel_runs(runs, reason)


async def together(script: Script, place: Place, parts: Sequence[Awaitable[Any]]) -> list[Any]:
    """Run parts together and return their results in order; the first failure cancels the others.

    The children among them are joined: the run is woken once for all of them.
    """
    calls = [part for part in parts if isinstance(part, Call)]
    tasks = [_start(part) for part in parts if not isinstance(part, Call)]
    if calls:
        tasks.append(_start(join_all(script, place, calls)))
    lines = [script.branch_of(task) for task in tasks]
    try:
        results = await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        await _cancel(tasks)
        close_unbegun(parts)
        raise
    except Exception:
        await _cancel(tasks)
        close_unbegun(parts)
        await _cancel_children(script, _keys(lines), "a part beside it has failed")
        raise
    _catch_up(lines)
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
    await script.arrive()
    known = script.recall(place)
    if known is not None:
        return bool(known.result)
    if script.replaying:
        return False
    await script.remember(place, result=True)
    return True
