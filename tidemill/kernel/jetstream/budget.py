"""Places: how many deliveries a process may hold, shared fairly by all that pull.

A place is taken before the broker is asked for a message and given back when the message has been dealt
with, so that a process is never sent more than it can work on at once. Every sharer that has no request open
is left one place, so that a busy consumer can't starve a quiet one; where there are fewer places than
sharers they take turns.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Budget:
    """`places` deliveries at most; `free` says how many are left.

    `free` goes below zero for a moment when the broker answers a request that was taken for lost.
    """

    def __init__(self, places: int) -> None:
        if places < 1:
            raise ValueError(f"a budget needs at least one place, not {places}")
        self.places = places
        self.free = places
        self._available = asyncio.Event()
        self._available.set()
        self.sharers = 0
        self.empty_handed = 0  # active sharers that hold no place: one is kept for each
        self.line: dict[Share, None] = {}  # in order: who asked for a place, got none and has none
        self.wanting: set[Share] = set()  # who has some and would take more

    @property
    def scarce(self) -> bool:
        """Whether somebody waits for a place who has none, or there are too few for one each."""
        return bool(self.line) or self.places <= self.sharers

    def take(self, wanted: int) -> int:
        """Take up to `wanted` places and return how many were taken, maybe none."""
        taken = max(0, min(wanted, self.free))
        self._change(-taken)
        return taken

    def give_back(self, number: int = 1) -> None:
        """Give places back, and wake who waits for them."""
        self._change(number)
        if self.line:
            for share in list(self.line)[: max(0, self.free)]:
                share.wake()
        if self.wanting and self.free > len(self.line):
            for share in tuple(self.wanting):
                share.wake()

    def overdraw(self) -> None:
        """Count a delivery that arrived without a place: it is here, so it must be worked on."""
        self._change(-1)

    async def wait_free(self) -> None:
        """Wait until at least one place is free."""
        await self._available.wait()

    def join(self, wake: Callable[[], None]) -> Share:
        """Return a new sharer's claim, resting at first; `wake` is called when places may be had again."""
        self.sharers += 1
        return Share(self, wake)

    def _change(self, number: int) -> None:
        self.free += number
        if self.free > 0:
            self._available.set()
        else:
            self._available.clear()


class Share:
    """One sharer's claim on a budget; `held` places of it stand for messages that were asked for.

    Only an active sharer has a place kept for it: one that backs off doesn't need any.
    """

    __slots__ = ("_active", "_budget", "held", "wake")

    def __init__(self, budget: Budget, wake: Callable[[], None]) -> None:
        self._budget = budget
        self._active = False
        self.held = 0
        self.wake = wake

    @property
    def _empty_handed(self) -> int:
        return 1 if self._active and self.held == 0 else 0

    def activate(self) -> None:
        """Say that this sharer asks for messages now."""
        self._set(self.held, active=True)

    def rest(self) -> None:
        """Say that this sharer doesn't ask for messages for a while."""
        self._forget_wishes()
        self._set(self.held, active=False)

    def available(self) -> int:
        """Return how many places may be taken with one left to every other sharer without any."""
        return self._budget.free - (self._budget.empty_handed - self._empty_handed)

    def take(self, wanted: int) -> int:
        """Take up to `wanted` places for a request; whoever gets too few is woken when there are more."""
        budget = self._budget
        taken = max(0, min(wanted, self.available()))
        if taken == 0 and self.held == 0 and budget.free > 0 and next(iter(budget.line), self) is self:
            taken = 1
        budget.take(taken)
        self._set(self.held + taken, active=self._active)
        if self.held == 0:
            budget.line.setdefault(self)  # who asks again in vain keeps its place in the line
            return 0
        self._forget_wishes()
        if taken < wanted:
            budget.wanting.add(self)
        return taken

    def wish(self) -> None:
        """Ask to be woken when there are more places, without taking any now."""
        self._budget.wanting.add(self)

    def used(self) -> None:
        """One place went over to a delivery; who deals with it gives it back."""
        self._set(self.held - 1, active=self._active)

    def unused(self, number: int) -> None:
        """Give back places for which no message came."""
        self._set(self.held - number, active=self._active)
        self._budget.give_back(number)

    def leave(self) -> None:
        """Give back all that is held and leave the budget for good."""
        self.rest()
        self._budget.sharers -= 1
        self.unused(self.held)

    def _forget_wishes(self) -> None:
        self._budget.line.pop(self, None)
        self._budget.wanting.discard(self)

    def _set(self, held: int, *, active: bool) -> None:
        before = self._empty_handed
        self.held = held
        self._active = active
        self._budget.empty_handed += self._empty_handed - before
