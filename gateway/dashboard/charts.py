"""Bars over time as SVG's numbers: how many of what there were in each minute or hour."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill.history.rows import Bucket

WIDTH: Final = 600
HEIGHT: Final = 80
_GAP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle: its place, and whether it is `good`, `bad` or something `else`."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, what their height stands for, and what they count together, by word."""

    bars: tuple[Bar, ...]
    most: int
    sums: Mapping[str, int]
    begin: float
    until: float
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def all(self) -> int:
        """How many there were."""
        return sum(self.sums.values())


def chart(
    buckets: Sequence[Bucket], kinds: Mapping[str, str], *, span: int, begin: float, until: float
) -> Chart:
    """Return a chart of buckets whose word is one of `kinds`; the value says how it looks, in its order."""
    heaps: defaultdict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    sums = dict.fromkeys(kinds, 0)
    for bucket in buckets:
        if bucket.what in kinds:
            heaps[bucket.at][bucket.what] += bucket.count
            sums[bucket.what] += bucket.count
    most = max((sum(heap.values()) for heap in heaps.values()), default=0)
    first = int(begin // span * span)
    wide = WIDTH / max(1, int((until - first) // span) + 1)
    bars: list[Bar] = []
    for at, heap in sorted(heaps.items()):
        top = float(HEIGHT)
        for what, kind in kinds.items():
            if high := heap.get(what, 0) / most * HEIGHT:
                top -= high
                left = (at - first) / span * wide
                bars.append(
                    Bar(round(left, 2), round(top, 2), round(max(wide - _GAP, 0.5), 2), round(high, 2), kind)
                )
    return Chart(tuple(bars), most, sums, begin, until)
