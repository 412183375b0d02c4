"""Lineage as a graph: request, event, runs, children and approvals, a column for each generation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill.history.rows import Lineage, RunDetail, RunRow

MOST: Final = 120
"""Nodes of a graph at most."""
_WIDE: Final = 190
_HIGH: Final = 46
_ACROSS: Final = 60
_DOWN: Final = 14
_LABEL: Final = 24
_TOKEN: Final = re.compile(r"(?:^|/)(?:approval|token):(.+)", re.DOTALL)
"""A name in the key of a wait, behind its branch of the code."""
_ASKING: Final = ("approval", "token")


@dataclass(slots=True)
class Node:
    """One box: what it is, two lines of text, where it leads, and where it stands."""

    key: str
    kind: str
    title: str
    status: str
    url: str = ""
    column: int = 0
    here: bool = False
    x: int = 0
    y: int = 0
    width: int = _WIDE
    height: int = _HIGH

    @property
    def label(self) -> str:
        """The title, as much as the box takes."""
        return self.title if len(self.title) <= _LABEL else f"{self.title[: _LABEL - 1]}…"


@dataclass(slots=True)
class Graph:
    """Boxes, the lines between them as SVG's paths, and how many boxes were left out."""

    nodes: list[Node] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    left_out: int = 0
    width: int = 0
    height: int = 0


class _Plan:
    """Boxes by their keys, and who leads to whom."""

    def __init__(self, here: str) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[tuple[str, str]] = []
        self.left_out = 0
        self._here = here

    def add(self, node: Node, *causes: str) -> None:
        if node.key in self.nodes:
            return
        if len(self.nodes) >= MOST and node.key != self._here:
            self.left_out += 1
            return
        known = [cause for cause in causes if cause in self.nodes]
        node.column = max((self.nodes[cause].column + 1 for cause in known), default=0)
        node.here = node.key == self._here
        self.nodes[node.key] = node
        self.edges += [(cause, node.key) for cause in known]


def family_graph(lineage: Lineage, here: RunDetail | None = None) -> Graph:
    """Return the graph of what belongs together; `here` is the run whose page it stands on."""
    plan = _Plan(here.run.id if here is not None else "")
    for delivery in lineage.deliveries:
        plan.add(
            Node(
                f"delivery {delivery.verdict} {delivery.number}", "request", delivery.source, delivery.verdict
            )
        )
    accepted = {
        one.number: f"delivery accepted {one.number}"
        for one in lineage.deliveries
        if one.verdict == "accepted"
    }
    for event in lineage.events:
        url = f"/events/{quote(event.id, safe='')}"
        plan.add(
            Node(f"event {event.number}", "event", event.type, event.id, url), accepted.get(event.number, "")
        )
    for run in sorted(lineage.runs, key=lambda run: (run.depth, run.number)):
        cause = run.parent_id or (f"event {run.event_number}" if run.event_number is not None else "")
        plan.add(_run(run), cause)
    for run in lineage.runs:
        _add_asked(plan, run.id, _pending(run))
    if here is not None:
        plan.add(_run(here.run), here.run.parent_id or "")
        _add_asked(plan, here.run.id, _decided(here))
    return _laid(plan)


def _run(run: RunRow) -> Node:
    return Node(run.id, "run", run.task, run.status, f"/runs/{run.id}")


def _pending(run: RunRow) -> Iterable[tuple[str, str]]:
    return ((_named(str(wait["key"])), "waiting") for wait in run.waits if wait.get("kind") in _ASKING)


def _decided(detail: RunDetail) -> Iterable[tuple[str, str]]:
    return (
        (_named(str(span.data.get("box") or span.name)), span.status)
        for span in detail.spans
        if span.kind == "wait" and span.data.get("wait", span.data.get("kind")) in _ASKING
    )


def _named(key: str) -> str:
    """Return a token's name by the key of its wait, or by its mailbox."""
    found = _TOKEN.search(key)
    return found[1] if found is not None else key


def _add_asked(plan: _Plan, run: str, asked: Iterable[tuple[str, str]]) -> None:
    for name, status in asked:
        token = f"{run}.{name}"
        plan.add(Node(token, "approval", name, status, f"/approvals/{quote(token, safe='')}"), run)


def _laid(plan: _Plan) -> Graph:
    """Give each box its place: a column for each generation, in the order in which they came."""
    rows: dict[int, int] = {}
    for node in plan.nodes.values():
        row = rows.get(node.column, 0)
        rows[node.column] = row + 1
        node.x = node.column * (_WIDE + _ACROSS) + 1
        node.y = row * (_HIGH + _DOWN) + 1
    lines = [_line(plan.nodes[cause], plan.nodes[effect]) for cause, effect in plan.edges]
    columns, most = max(rows, default=-1) + 1, max(rows.values(), default=0)
    return Graph(
        nodes=list(plan.nodes.values()),
        lines=lines,
        left_out=plan.left_out,
        width=columns * (_WIDE + _ACROSS) - _ACROSS + 2 if columns else 0,
        height=most * (_HIGH + _DOWN) - _DOWN + 2 if most else 0,
    )


def _line(cause: Node, effect: Node) -> str:
    left, right = cause.x + cause.width, effect.x
    begin, end, half = cause.y + cause.height // 2, effect.y + effect.height // 2, (left + right) // 2
    return f"M{left} {begin}C{half} {begin} {half} {end} {right} {end}"
