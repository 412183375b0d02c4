"""What pages are made of: figures, charts, bars, graphs, bodies."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from gateway.api.run_query import address_of, run_query
from gateway.dashboard.charts import HEIGHT, WIDTH, chart
from gateway.dashboard.family_graph import MOST, family_graph
from gateway.dashboard.figures import ago, moment, size, took
from gateway.dashboard.part import part
from gateway.dashboard.shown import TEXT_LIMIT, editable, show_body, show_value
from gateway.dashboard.timebars import SCALE, time_bars
from tidemill.history.rows import Body, Bucket, EventRow, Lineage, RunDetail, RunRow, Span
from tidemill.history.run_lists import RunQuery
from tidemill.kernel.errors import BrokerUnavailableError, HistoryError, NotFoundError


def run(number: int, **given_: Any) -> RunRow:
    facts = {"id": f"run_{number:026d}", "task": "t", "status": "running", "attempt": 1, "created_at": 100.0}
    return RunRow(**(facts | {"number": number} | given_))


def detail(*spans: Span, **given_: Any) -> RunDetail:
    return RunDetail(
        run=run(1, **given_),
        payload=Body(),
        result=Body(),
        traceback="",
        spans=spans,
        timeline=(),
        children=(),
        replays=(),
    )


@given(st.binary(max_size=2000), st.integers(0, 5000))
def test_any_body_is_shown_as_text_that_a_page_can_hold(data: bytes, more: int) -> None:
    shown = show_body(Body(size=len(data) + more, data=data))
    shown.text.encode()
    assert len(shown.text) <= TEXT_LIMIT
    assert not set(shown.text) & set(map(chr, [*range(9), 11, 12, 13, *range(14, 32), 127]))
    assert more == 0 or shown.note


@given(st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists, max_leaves=20))
def test_json_in_an_editor_is_the_same_json(value: Any) -> None:
    data = json.dumps(value).encode()
    text = editable(Body(size=len(data), data=data))
    assert text is not None
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("body", "text", "note"),
    [
        (Body(), "", ""),
        (Body(size=5), "", "aren't kept any more"),
        (Body(size=5, blob="b"), "", "kept apart"),
        (Body(size=2, data=b"\xff\x00"), "ff 00", "no text"),
        (Body(size=9, data='{"a":"é'.encode()[:-1]), '{"a":"', "beginning of 9 bytes"),
        (Body(size=3, data=b"abc"), "abc", ""),
        (Body(size=4, data=b'"\\ud'), '"\\ud', ""),
        (Body(size=8, data=b'"\\ud800"'), '"\\ud800"', ""),
        (Body(size=100_000, data=b"[" * 100_000), "[[[", "first 16000"),
    ],
)
def test_bodies_that_are_no_whole_json_are_told_as_such(body: Body, text: str, note: str) -> None:
    shown = show_body(body)
    assert shown.text.startswith(text)
    assert note in shown.note


def test_values_that_were_shortened_say_so() -> None:
    assert "of 9000 bytes" in show_value({"bytes": 9000, "beginning": "[1,"}).note
    assert show_value(None).empty
    assert "first 2000" in show_value("x" * 5000).note


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.0123, "12 ms"), (1.26, "1.3 s"), (59, "59 s"), (60, "1 min"), (3_725, "1 h 2 min"),
     (90_000, "1 d 1 h"), (None, "")],
)  # fmt: skip
def test_durations_in_two_units(seconds: float | None, text: str) -> None:
    assert took(seconds) == text


@given(st.floats(allow_nan=False, allow_infinity=False) | st.none())
def test_any_moment_can_be_written(at: float | None) -> None:
    assert (str(moment(at)) == "") == (at is None)
    assert isinstance(ago(at), str)


def test_sizes() -> None:
    assert [size(number) for number in (0, 1023, 1024, 15_000, 1 << 40)] == [
        "0 bytes", "1023 bytes", "1.0 KiB", "15 KiB", "1.0 TiB",
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.sampled_from(["good", "bad", "unknown"]), st.integers(1, 10**9)),
        max_size=50,
    )
)
def test_bars_stay_in_their_chart_and_count_everything_once(given_: list[tuple[int, str, int]]) -> None:
    buckets = [Bucket(at=at * 60, name="", what=what, count=count) for at, what, count in given_]
    made = chart(buckets, {"good": "good", "bad": "bad"}, span=60, begin=0, until=3599)
    assert made.all == sum(count for _, what, count in given_ if what != "unknown")
    for bar in made.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH + 1
        assert -0.1 <= bar.y <= bar.y + bar.height <= HEIGHT + 0.1


@given(
    st.lists(
        st.tuples(st.floats(0, 500), st.none() | st.floats(0, 1000), st.sampled_from(["step", "wait"])),
        max_size=20,
    )
)
def test_bars_of_a_waterfall_stay_in_it(given_: list[tuple[float, float | None, str]]) -> None:
    spans = [
        Span(kind=kind, name="x", started_at=begin, ended_at=end, status="done")
        for begin, end, kind in given_
    ]
    bars = time_bars(detail(*spans), now=400.0)
    assert len(bars) == len(spans)
    for bar in bars:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= SCALE + 0.2


def test_a_graph_leads_from_the_event_to_grandchildren_and_holds_so_many() -> None:
    event = EventRow(number=7, id="a/b?c", key="k", source="s", type="t.x", at=1.0, size=3)
    root = run(1, event_number=7)
    below = [run(number, parent_id=root.id, depth=1) for number in range(2, 200)]
    below.append(run(300, parent_id=below[0].id, depth=2))
    waiting = run(
        400, parent_id=root.id, depth=1, waits=({"key": "f.1/approval:go/now", "kind": "approval"},)
    )
    graph = family_graph(Lineage(deliveries=(), events=(event,), runs=(root, waiting, *below)))
    columns = {node.key: node.column for node in graph.nodes}
    assert (columns["event 7"], columns[root.id], columns[below[0].id]) == (0, 1, 2)
    assert len(graph.nodes) == MOST
    assert graph.left_out == 1 + 1 + 1 + 198 + 1 + 1 - MOST
    assert graph.width > max(node.x for node in graph.nodes)


def test_a_graph_names_a_token_by_what_it_is_answered_with() -> None:
    waiting = run(4, waits=({"key": "f.1/approval:go/now", "kind": "approval"},))
    graph = family_graph(Lineage(deliveries=(), events=(), runs=(waiting,)), detail())
    urls = [node.url for node in graph.nodes if node.kind == "approval"]
    assert urls == [f"/approvals/{waiting.id}.go%2Fnow"]
    for line in graph.lines:
        ET.fromstring(f'<path d="{line}"/>')


@given(
    st.builds(
        RunQuery,
        task=st.none() | st.text(min_size=1, max_size=20).filter(lambda text: text.strip() == text != ""),
        statuses=st.lists(st.sampled_from(["failed", "running"]), unique=True).map(tuple),
        since=st.none() | st.floats(1, 10**11).map(lambda at: round(at, 3)),
    )
)
def test_filters_survive_their_way_through_an_address(query: RunQuery) -> None:
    address = address_of("/runs", query, "c")
    if "\x00" not in (query.task or ""):
        assert run_query(QueryParams(address.partition("?")[2])) == query


async def test_a_part_that_cant_be_had_says_why_and_a_mistake_is_no_such_part() -> None:
    async def fail(error: Exception) -> None:
        raise error

    assert (await part(fail(HistoryError("gone")))).missing == "gone"
    assert (await part(fail(BrokerUnavailableError("away")))).missing == "away"
    assert "0.01 seconds" in (await part(asyncio.sleep(5), within=0.01)).missing
    with pytest.raises(NotFoundError):
        await part(fail(NotFoundError("no")))
