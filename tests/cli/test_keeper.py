"""The keeper of a child: starts it again when it dies, anew when code changes, not when it's hopeless."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from tidemill.cli import keeper
from tidemill.cli.keeper import Keeper

LIMIT = 10


@dataclass
class FakeChild:
    """Ends with `code` by itself, or when it is told to."""

    code: int | None
    name: str = "child"
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self) -> int:
        if self.code is None:
            await self.told.wait()
        return self.code or 0

    async def stop(self, patience: float) -> int:
        assert patience == LIMIT
        self.told.set()
        return await self.wait()


class Launcher:
    """Starts children that end with the given codes in turn; None is one that lives on."""

    def __init__(self, *codes: int | None) -> None:
        self.children = [FakeChild(code) for code in codes]
        self.started = 0
        self.arrived = asyncio.Condition()

    async def __call__(self) -> Any:
        async with self.arrived:
            self.started += 1
            self.arrived.notify_all()
        return self.children[self.started - 1]

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(LIMIT), self.arrived:
            await self.arrived.wait_for(lambda: self.started >= count)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_FIRST_PAUSE", 0)


async def test_a_child_that_dies_is_started_again_and_stopped_at_the_end() -> None:
    launcher, stopping = Launcher(1, 0, 137, None), asyncio.Event()
    running = asyncio.create_task(Keeper(launcher, patience=LIMIT).run(stopping))
    await launcher.reach(4)
    stopping.set()
    assert await running == 0
    assert launcher.children[-1].told.is_set()


async def test_pauses_grow_until_a_child_was_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[int] = []

    def delay(attempt: int, **_: object) -> float:
        attempts.append(attempt)
        return 0

    monkeypatch.setattr(keeper, "delay", delay)
    launcher, stopping = Launcher(1, 1, 1, None), asyncio.Event()
    running = asyncio.create_task(Keeper(launcher, patience=LIMIT).run(stopping))
    await launcher.reach(4)
    assert attempts == [1, 2, 3]
    monkeypatch.setattr(keeper, "STEADY_SECONDS", 0)
    launcher.children += [FakeChild(None)]
    launcher.children[3].told.set()
    await launcher.reach(5)
    assert attempts == [1, 2, 3, 1]
    stopping.set()
    assert await running == 0


async def test_wrong_input_ends_it_where_nothing_ever_changes() -> None:
    launcher = Launcher(2)
    assert await Keeper(launcher, patience=LIMIT).run(asyncio.Event()) == 2
    assert launcher.started == 1


async def test_wrong_input_waits_for_a_change() -> None:
    launcher, stopping, changed = Launcher(2, None), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Keeper(launcher, patience=LIMIT, changed=changed).run(stopping))
    await launcher.reach(1)
    changed.set()
    await launcher.reach(2)
    stopping.set()
    assert await running == 0


async def test_a_change_starts_a_new_child_while_the_old_one_finishes() -> None:
    launcher, stopping, changed = Launcher(None, None), asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(Keeper(launcher, patience=LIMIT, changed=changed).run(stopping))
    await launcher.reach(1)
    changed.set()
    await launcher.reach(2)
    async with asyncio.timeout(LIMIT):
        await launcher.children[0].told.wait()
    assert not launcher.children[1].told.is_set()
    stopping.set()
    assert await running == 0
    assert launcher.children[1].told.is_set()


async def test_a_failing_start_is_not_hidden() -> None:
    async def fail() -> Any:
        raise OSError("no memory")

    with pytest.raises(OSError, match="no memory"):
        await Keeper(fail, patience=LIMIT).run(asyncio.Event())
