"""Counting what has happened within a sliding window, in a few slots however much that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

SLOTS: Final = 12
"""Into so many parts a window is divided: what is counted may be older by one of them."""


@dataclass(slots=True)
class Counter:
    """So many in each slot; a slot is when it began and how many came in it."""

    slots: list[list[float]] = field(default_factory=list)

    def add(self, number: int, now: float, window: float) -> None:
        """Count something that happens now."""
        width = window / SLOTS
        if self.slots and self.slots[-1][0] <= now < self.slots[-1][0] + width:
            self.slots[-1][1] += number
        else:
            self.slots.append([round(now, 1), number])
        self.sweep(now, window)

    def sum(self, now: float, window: float) -> int:
        """Return how many came within the window."""
        self.sweep(now, window)
        return int(sum(count for _, count in self.slots))

    def sweep(self, now: float, window: float) -> None:
        """Forget what is older than the window."""
        while self.slots and self.slots[0][0] <= now - window:
            del self.slots[0]

    def shift(self, seconds: float) -> None:
        """Move it in time, as a clock was moved that it was counted by."""
        for slot in self.slots:
            slot[0] += seconds
