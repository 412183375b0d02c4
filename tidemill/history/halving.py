"""Where in a sequence that grows with time a moment is, with few looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_NEAR: Final = 64
"""Which part of what is left a likely place may be away from the true one."""
_FIRST_HALVINGS: Final = 2

Place = tuple[int, float]
"""A number, and its moment."""


@dataclass(slots=True)
class Gap:
    """What is left to look through: `low` is before the moment, `high` is not."""

    find: Callable[[int], Place]
    moment: float
    low: Place
    high: Place

    @property
    def width(self) -> int:
        """How many numbers it could still be."""
        return self.high[0] - self.low[0]

    def look(self, number: int) -> None:
        """Look at the first row from a number on."""
        if self.width <= 1:
            return
        number = min(max(number, self.low[0] + 1), self.high[0] - 1)
        found = self.find(number)
        if found[1] >= self.moment:
            self.high = number, found[1]
        else:
            self.low = found

    def guess(self) -> None:
        """Look on both sides of where the moment is if numbers grow evenly with time."""
        (low, since), (high, until) = self.low, self.high
        likely = low + int((high - low) * (self.moment - since) / max(until - since, 1e-9))
        away = self.width // _NEAR
        self.look(likely - away)
        self.look(likely + away)

    def halve(self) -> None:
        """Look at the middle."""
        self.look((self.low[0] + self.high[0]) // 2)


def first_from(gap: Gap) -> int:
    """Return the first number from the moment on: by guessing, and by halving for as long as guesses fail."""
    halvings = _FIRST_HALVINGS
    while gap.width > 1:
        before = gap.width
        gap.guess()
        if gap.width > before // 4:
            for _ in range(halvings):
                gap.halve()
            halvings *= 2
    return gap.high[0]
