"""A waterfall as bars between a run's beginning and its end, or now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.dashboard.shown import Shown, clip, show_value
from tidemill.kernel.protocol.hooks import HOOKS_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidemill.history.rows import RunDetail, Span

SCALE: Final = 1000
"""How wide the whole time is, in SVG's units."""
MOST: Final = 300
"""Bars of a page at most: a page of ten thousand steps would be of no use."""
_LEAST: Final = 3.0
_TRACE_LIMIT: Final = 6_000
_GOOD: Final = frozenset({"completed", "done", "decided", "elapsed", "ok", "suspended", "taken over"})
_BAD: Final = frozenset({"failed", "crashed", "timed_out", "lost", "expired", "not ok"})
_PLAIN: Final = ("wait", "until", "box", "need", "count", "ok", "task", "after", "blob", "kind", "reason")


@dataclass(frozen=True, slots=True)
class TimeBar:
    """One line of the waterfall.

    Attributes:
        id: names it on the page.
        span: what it stands for.
        x: where it begins, of `SCALE`.
        width: how long it is.
        kind: `good`, `bad` or `open`.
        seconds: how long it took, None while it goes on.
        facts: what else is known, as text.
        values: what it brought, by what it is called.
    """

    id: str
    span: Span
    x: float
    width: float
    kind: str
    seconds: float | None
    facts: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, Shown], ...]

    @property
    def point(self) -> str:
        """By which the run can be forked here; empty where it can't."""
        if self.span.kind == "child":
            hooks = self.span.name.endswith(HOOKS_SUFFIX)
            return "" if hooks else self.span.run_id or ""
        wait = self.span.kind == "wait" and self.span.data.get("kind") != "retry"
        return self.span.name if wait or self.span.kind == "step" else ""


def time_bars(detail: RunDetail, now: float | None = None) -> list[TimeBar]:
    """Return the bars of a run, as many as a page shows."""
    spans = _without_news_of_children(detail.spans)[:MOST]
    begin = detail.run.created_at
    end = max(_ends(spans, now if now is not None else time.time(), detail.run.ended_at), begin + 0.001)
    return [_bar(number, span, begin, end) for number, span in enumerate(spans)]


def _without_news_of_children(spans: Sequence[Span]) -> list[Span]:
    """Leave out what children told: they have lines of their own."""
    boxes = {span.data.get("box") for span in spans if span.data.get("wait") == "children"}
    return [span for span in spans if span.kind != "news" or span.name not in boxes]


def _ends(spans: Sequence[Span], now: float, ended: float | None) -> float:
    if ended is None:
        return now
    return max([ended, *(span.ended_at or span.started_at for span in spans)])


def _bar(number: int, span: Span, begin: float, end: float) -> TimeBar:
    scale = SCALE / (end - begin)
    left = min(max(0.0, (span.started_at - begin) * scale), SCALE - _LEAST)
    right = SCALE if span.ended_at is None else (span.ended_at - begin) * scale
    return TimeBar(
        id=f"span-{number}",
        span=span,
        x=round(left, 1),
        width=round(min(max(right - left, _LEAST), SCALE - left), 1),
        kind="good" if span.status in _GOOD else "bad" if span.status in _BAD else "open",
        seconds=None if span.ended_at is None else max(0.0, span.ended_at - span.started_at),
        facts=tuple(_facts(span)),
        values=tuple(_values(span.data)),
    )


def _facts(span: Span) -> Iterator[tuple[str, str]]:
    if span.kind in ("execution", "step") and span.attempt:
        yield "attempt", str(span.attempt)
    for name in _PLAIN:
        value = span.data.get(name)
        if value not in (None, "") and not isinstance(value, float):
            yield name, str(value)[:200]


def _values(data: dict[str, Any]) -> Iterator[tuple[str, Shown]]:
    if (result := data.get("result")) is not None:
        yield "output", show_value(result)
    if items := data.get("items"):
        yield "brought", show_value(items)
    error = data.get("error")
    if isinstance(error, list):
        error = ": ".join(str(part) for part in error)
    if error:
        yield "error", clip(str(error), _TRACE_LIMIT)
    if trace := data.get("traceback"):
        yield "traceback", clip(str(trace)[-_TRACE_LIMIT:], _TRACE_LIMIT)
