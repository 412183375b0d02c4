"""A run's waterfall in text: attempts, steps, waits and children as bars between its beginning and its end.

It is folded from the timeline that the control API gives out. That has the ends of steps alone: a step begins
where the part before it in its branch of the code has ended, or with the claim.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from rich.text import Text

from tidemill.cli.output import printable

Kind = Literal["good", "bad", "open", "wait"]
MOST: Final = 200
"""Lines at most; the rest is counted."""
_LEAST_BAR: Final = 10
_MOST_BAR: Final = 60
_MOST_LABEL: Final = 36
_TIMES: Final = 22
"""Columns for offset and duration."""
_STYLES: Final = {"good": "green", "bad": "red", "open": "yellow", "wait": "blue"}
_GOOD: Final = frozenset({"done", "completed", "over", "ok", "started", "taken over"})
_OPEN: Final = frozenset({"running", "waiting", "parked"})


@dataclass(slots=True)
class Bar:
    """A line: `end` is None while it goes on."""

    label: str
    begin: float
    end: float | None
    state: str
    depth: int = 0

    @property
    def kind(self) -> Kind:
        """How it is coloured."""
        if self.state in _OPEN or self.end is None:
            return "open"
        if self.label.startswith("wait ") or self.label in ("queued", "delay before the next attempt"):
            return "wait"
        return "good" if self.state in _GOOD else "bad"


@dataclass(slots=True)
class _Fold:
    """What is open while the entries go by."""

    bars: list[Bar] = field(default_factory=list)
    queued: Bar | None = None
    attempt: Bar | None = None
    attempts: int = 0
    pause: Bar | None = None
    claimed: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    waits: dict[str, Bar] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    families: dict[str, tuple[Bar, int, set[str]]] = field(default_factory=dict)

    def take(self, entry: Mapping[str, Any], at: float) -> None:
        """Take in the next entry."""
        match entry["kind"]:
            case "created":
                for key in entry.get("taken", ()):
                    self._add(f"part {key}", at, at, "taken over", 1)
                self.queued = self._add("queued", at, None, "waiting")
            case "claim":
                self._claim(at)
            case "step":
                self._step(entry, at)
            case "spawned":
                self._spawn(entry, at)
            case "news":
                self._hear(entry, at)
            case "suspend":
                self._suspend(entry, at)
            case "end":
                self._end(str(entry.get("outcome", "ended")), at)
            case "reopened":
                self.attempts = 0
                self.queued = self._add("queued", at, None, "waiting")

    def _add(self, label: str, begin: float, end: float | None, state: str, depth: int = 0) -> Bar:
        bar = Bar(label, begin, end, state, depth)
        self.bars.append(bar)
        return bar

    def _claim(self, at: float) -> None:
        self.queued = _ended(self.queued, at, "over")
        self.pause = _ended(self.pause, at, "over")
        if self.attempt is None:
            self.attempts += 1
            self.attempt = self._add(f"attempt {self.attempts}", at, None, "running")
        self.claimed = at

    def _step(self, entry: Mapping[str, Any], at: float) -> None:
        key = str(entry.get("key", ""))
        if key in self.waits:
            self._over(key, at)
        else:
            begin = max(self.claimed, self.parts.get(str(entry.get("after", "")), self.claimed))
            self._add(f"step {key}", min(begin, at), at, str(entry.get("outcome", "done")), 1)
        self.parts[key] = at

    def _spawn(self, entry: Mapping[str, Any], at: float) -> None:
        key, count = str(entry.get("key", "")), int(entry.get("count", 1))
        known = self.families.get(key)
        task = entry.get("task", "")
        label = f"child {task}" if count == 1 else f"{count} children {task}"
        if known is not None:
            known[0].label = label
            self.families[key] = (known[0], count, known[2])
            return
        detached = bool(entry.get("detached"))
        bar = self._add(label, at, at if detached else None, "started" if detached else "running", 1)
        self.families[key] = (bar, count, set())

    def _hear(self, entry: Mapping[str, Any], at: float) -> None:
        for item in entry.get("items", ()):
            family = self.families.get(str(item.get("box")))
            if family is None:
                continue
            bar, count, ended = family
            ended.add(str(item.get("who")))
            if not item.get("ok"):
                bar.state = "failed"
            if len(ended) + int(entry.get("more", 0)) >= count:
                bar.end, bar.state = at, "done" if bar.state == "running" else bar.state

    def _suspend(self, entry: Mapping[str, Any], at: float) -> None:
        reason = entry.get("for")
        if reason == "retry":
            self.attempt = _ended(self.attempt, at, "failed")
            self._close(at, "left")
            self.pause = self._add("delay before the next attempt", at, None, "waiting")
        elif reason == "parked":
            self.queued = self._add("wait for a person", at, None, "parked", 1)
        listed = {str(wait["key"]): str(wait["kind"]) for wait in entry.get("waits", ())}
        for key in set(self.waits) - set(listed):
            self._over(key, self.claimed)
        for key, kind in listed.items():
            if key not in self.waits and key not in self.families:
                label = f"wait {key}" if key.startswith(kind) else f"wait {kind} {key}"
                self.waits[key] = self._add(label, at, None, "waiting", 1)

    def _over(self, key: str, at: float) -> None:
        bar = self.waits.pop(key)
        bar.end, bar.state = max(at, bar.begin), "over"
        self.parts[key] = bar.end

    def _close(self, at: float, state: str) -> None:
        for key in list(self.waits):
            self._over(key, at)
        for bar, _, _ in self.families.values():
            if bar.end is None:
                bar.end, bar.state = at, state

    def _end(self, outcome: str, at: float) -> None:
        self.queued = _ended(self.queued, at, outcome)
        self.pause = _ended(self.pause, at, "over")
        self.attempt = _ended(self.attempt, at, outcome)
        self._close(at, "left")


def bars_of(timeline: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return the bars of a run, in the order of their beginnings, what belongs to an attempt below it."""
    fold = _Fold()
    for entry in timeline:
        if entry.get("at"):
            fold.take(entry, datetime.fromisoformat(str(entry["at"])).timestamp())
    for bar in fold.bars:
        bar.end = None if bar.end is None else max(bar.begin, bar.end)
    return sorted(fold.bars, key=lambda bar: (bar.begin, bar.depth))


def waterfall(
    timeline: Sequence[Mapping[str, Any]], *, width: int, unicode: bool = True, now: float | None = None
) -> Iterator[Text]:
    """Yield a run's waterfall line by line.

    Args:
        timeline: what the control API tells of the run.
        width: columns of the terminal; where there are few the bars are left out, then the times.
        unicode: whether the terminal can show more than ASCII.
        now: the present, for what still goes on.
    """
    bars = bars_of(timeline)
    if not bars:
        return
    begin = min(bar.begin for bar in bars)
    moment = time.time() if now is None else now
    end = max(moment if bar.end is None else bar.end for bar in bars)
    whole = max(end - begin, 0.001)
    label = min(_MOST_LABEL, max(len(bar.label) + 2 * bar.depth for bar in bars[:MOST]), max(12, width // 3))
    state = max(len(bar.state) for bar in bars[:MOST])
    room = min(_MOST_BAR, width - label - state - _TIMES - 4)
    for bar in bars[:MOST]:
        until = max(bar.begin, moment if bar.end is None else bar.end)
        text = Text(_cut(printable("  " * bar.depth + bar.label), label, unicode=unicode).ljust(label))
        if room >= _LEAST_BAR:
            drawn = _drawn((bar.begin - begin) / whole, (until - begin) / whole, room, unicode=unicode)
            text.append(" " + drawn, _STYLES[bar.kind])
        if width >= label + state + _TIMES + 3:
            text.append(f" {'+' + _span(bar.begin - begin):>10} {_span(until - bar.begin):>10}")
        text.append(f" {bar.state}", _STYLES[bar.kind])
        yield text
    if len(bars) > MOST:
        yield Text(f"and {len(bars) - MOST} more")


def _drawn(begin: float, end: float, room: int, *, unicode: bool) -> str:
    """Return a bar between two parts of the whole, at least one column wide."""
    first = min(room - 1, int(begin * room))
    last = max(first + 1, min(room, round(end * room)))
    full, empty = ("█", "·") if unicode else ("#", ".")
    return empty * first + full * (last - first) + empty * (room - last)


def _cut(text: str, width: int, *, unicode: bool) -> str:
    text = text.replace("\n", " ").replace("\t", " ")
    more = "…" if unicode else "~"
    return text if len(text) <= width else text[: width - 1] + more


def _span(seconds: float) -> str:
    """Return a duration in a few characters."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} m" if hours else f"{minutes} m {rest} s"


def _ended(bar: Bar | None, at: float, state: str) -> Bar | None:
    """End what may be open; return what is open then: nothing."""
    if bar is not None:
        bar.end, bar.state = max(at, bar.begin), state
    return None
