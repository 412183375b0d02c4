"""A run's waterfall in text: what is folded from its timeline, and how it is drawn in little room."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.cli.waterfall import MOST, bars_of, waterfall

BEGIN: Final = 1_700_000_000.0


def entry(at: float, kind: str, **facts: Any) -> dict[str, Any]:
    return {"at": datetime.fromtimestamp(BEGIN + at, UTC).isoformat(), "kind": kind, **facts}


def told(*entries: dict[str, Any]) -> list[tuple[str, float, float | None, str, int]]:
    return [
        (
            bar.label,
            round(bar.begin - BEGIN, 3),
            None if bar.end is None else round(bar.end - BEGIN, 3),
            bar.state,
            bar.depth,
        )
        for bar in bars_of(entries)
    ]


STORY: Final = (
    entry(0, "created"),
    entry(1, "claim", worker="w"),
    entry(3, "step", key="build", outcome="done"),
    entry(4, "step", key="both.1/a", after="build", outcome="done"),
    entry(5, "step", key="lint", after="build", outcome="failed"),
    entry(6, "spawned", key="call:suite", task="suite", count=2),
    entry(6, "suspend", **{"for": "news"}, waits=[{"key": "call:suite", "kind": "children"}]),
    entry(7, "news", items=[{"box": "call:suite", "who": "0", "ok": True}]),
    entry(8, "news", items=[{"box": "call:suite", "who": "1", "ok": True}]),
    entry(9, "claim"),
    entry(10, "suspend", **{"for": "retry"}, error="ValueError: x"),
    entry(12, "claim"),
    entry(12, "suspend", **{"for": "news"}, waits=[{"key": "sleep", "kind": "sleep"}]),
    entry(20, "claim"),
    entry(20, "step", key="sleep", outcome="done"),
    entry(21, "end", outcome="completed"),
)


def test_a_story_is_told() -> None:
    assert told(*STORY) == [
        ("queued", 0, 1, "over", 0),
        ("attempt 1", 1, 10, "failed", 0),
        ("step build", 1, 3, "done", 1),
        ("step both.1/a", 3, 4, "done", 1),
        ("step lint", 3, 5, "failed", 1),
        ("2 children suite", 6, 8, "done", 1),
        ("delay before the next attempt", 10, 12, "over", 0),
        ("attempt 2", 12, 21, "completed", 0),
        ("wait sleep", 12, 20, "over", 1),
    ]


def test_what_goes_on_has_no_end() -> None:
    waiting = (
        *STORY[:2],
        entry(2, "suspend", **{"for": "news"}, waits=[{"key": "signal:go", "kind": "signal"}]),
    )
    assert told(*waiting)[-1] == ("wait signal:go", 2, None, "waiting", 1)
    assert told(entry(0, "created")) == [("queued", 0, None, "waiting", 0)]
    parked = (*STORY[:2], entry(2, "suspend", **{"for": "parked"}))
    assert told(*parked)[-1][3] == "parked"
    detached = (*STORY[:2], entry(2, "spawned", key="t", task="mail", detached=True))
    assert told(*detached)[-1] == ("child mail", 2, 2, "started", 1)
    expired = (entry(0, "created"), entry(9, "end", outcome="expired"))
    assert told(*expired) == [("queued", 0, 9, "expired", 0)]


def lines(width: int, *, unicode: bool = True, story: Any = STORY) -> list[str]:
    return [line.plain for line in waterfall(story, width=width, unicode=unicode, now=BEGIN + 21)]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 240])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for unicode in (True, False):
        shown = lines(width, unicode=unicode)
        assert len(shown) == 9
        if width >= 40:
            assert max(len(line) for line in shown) <= width
        assert unicode or all(line.isascii() for line in shown)


def test_bars_stand_where_things_happened() -> None:
    shown = lines(120)
    bars = [re.findall(r"[█·]+", line)[0] for line in shown]
    assert len({len(bar) for bar in bars}) == 1
    assert bars[0].startswith("█")
    assert bars[-1].strip("·")
    assert bars[-1].index("█") > bars[5].index("█") > bars[2].index("█")
    assert "+1.00 s     2.00 s done" in shown[2]
    assert not re.search("[█·]", lines(50)[0])


def test_a_run_of_many_parts_is_counted() -> None:
    story = [*STORY[:2], *(entry(2 + n / 1000, "step", key=f"s{n}") for n in range(MOST + 50))]
    assert lines(100, story=story)[-1] == "and 52 more"
    assert lines(100, story=()) == []


def test_hostile_names_move_no_cursor() -> None:
    story = (*STORY[:2], entry(2, "step", key="\x1b[2J\r\nx", outcome="done"))
    assert all(line.isprintable() for line in lines(100, story=story))


KINDS: Final = ("created", "claim", "step", "spawned", "news", "suspend", "end", "reopened", "other")


@given(
    st.lists(
        st.builds(
            lambda at, kind, key, why, who: entry(
                at,
                kind,
                key=key,
                outcome="done",
                waits=[{"key": key, "kind": "sleep"}],
                items=[{"box": key, "who": who, "ok": True}],
                **{"for": why},
            ),
            st.floats(0, 1e6),
            st.sampled_from(KINDS),
            st.sampled_from("abc"),
            st.sampled_from(["news", "retry", "parked"]),
            st.text(max_size=2),
        ),
        max_size=15,
    ),
    st.integers(1, 200),
)
def test_any_timeline_is_drawn(story: list[dict[str, Any]], width: int) -> None:
    for bar in bars_of(story):
        assert bar.end is None or bar.end >= bar.begin
    assert len(list(waterfall(story, width=width, now=BEGIN))) == len(bars_of(story))


def test_what_a_fork_has_taken_over_stands_before_all() -> None:
    lines = told(
        entry(0, "created", taken=["build", "lint"]),
        entry(1, "claim", worker="w"),
        entry(2, "step", key="ship", after="lint", outcome="done"),
    )
    assert lines == [
        ("queued", 0.0, 1.0, "over", 0),
        ("part build", 0.0, 0.0, "taken over", 1),
        ("part lint", 0.0, 0.0, "taken over", 1),
        ("attempt 1", 1.0, None, "running", 0),
        ("step ship", 1.0, 2.0, "done", 1),
    ]
