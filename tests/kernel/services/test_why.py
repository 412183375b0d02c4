"""One sentence about a run: what it waits for and what would move it."""

from __future__ import annotations

import pytest

from tidemill.kernel.protocol.records import (
    Claim,
    Created,
    End,
    Entry,
    Fault,
    Item,
    News,
    Reason,
    Record,
    Spawned,
    Suspend,
    Wait,
)
from tidemill.kernel.protocol.state import fold
from tidemill.kernel.services.why import why

CREATED = Created(rid="a", task="deploy")
CLAIM = Claim(rid="b", q=1, n=1, worker="w1")
BOOM = Fault("ValueError", "boom")


def told(*records: Record) -> str:
    return why("run_x", fold(Entry(seq, record, 100.0) for seq, record in enumerate(records, start=1)))


def suspended(*waits: Wait, reason: Reason = "news", **facts: object) -> Suspend:
    return Suspend(rid="c", q=1, wait=reason, waits=waits, **facts)  # type: ignore[arg-type] # for brevity


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ((CREATED,), "starts when a worker that serves deploy has a free place"),
        ((Created(rid="a", task="deploy", start_at=200.0),), "It starts at 1970-01-01T00:03:20Z."),
        ((CREATED, CLAIM), "Worker w1 executes its attempt 1."),
        (
            (CREATED, CLAIM, suspended(reason="retry", until=200.0, fault=BOOM)),
            "Attempt 1 failed with ValueError: boom; the next one begins at 1970-01-01T00:03:20Z.",
        ),
        (
            (CREATED, CLAIM, suspended(reason="parked", fault=BOOM)),
            "It is parked, because ValueError: boom; `tidemill runs retry run_x` lets it go on.",
        ),
        (
            (CREATED, CLAIM, suspended(Wait(key="sleep", kind="sleep", until=200.0), until=200.0)),
            "It waits for the time 1970-01-01T00:03:20Z.",
        ),
        (
            (CREATED, CLAIM, suspended(Wait(key="k", kind="signal", box="signal:go", until=200.0))),
            "signal 'go' (`tidemill runs signal run_x go` sends one), until 1970-01-01T00:03:20Z.",
        ),
        (
            (
                CREATED,
                CLAIM,
                News(rid="n", items=(Item(id="i", box="token:ship", who="ann"),)),
                suspended(
                    Wait(key="k", kind="approval", box="token:ship", need=2, spare=0),
                    Wait(key="t", kind="token", box="token:address"),
                ),
            ),
            "approval 'ship', 1 of 2 yes (`tidemill tokens approve run_x.ship` says yes) or token 'address'",
        ),
        (
            (CREATED, CLAIM, suspended(Wait(key="event:a.b", kind="event", box="event:event:a.b"))),
            "It waits for an event, 'event:a.b'.",
        ),
        (
            (
                CREATED,
                CLAIM,
                Spawned(rid="s", key="gather", task="child", count=3),
                News(rid="n", items=(Item(id="i", box="gather", who="0"),)),
                suspended(Wait(key="gather", kind="children", box="gather", need=3, spare=0)),
            ),
            "It waits for its children of child, 1 of 3 have ended.",
        ),
        (
            (
                CREATED,
                CLAIM,
                suspended(Wait(key="k", kind="signal", box="signal:go")),
                News(rid="n", items=(Item(id="i", box="signal:go", who="i"),)),
            ),
            "What it waited for is there",
        ),
        (
            (CREATED, CLAIM, suspended(*(Wait(key=f"e{n}", kind="event", box=f"b{n}") for n in range(7)))),
            "or an event, 'e4' or 2 more.",
        ),
        ((CREATED, End(rid="e", outcome="timed_out", fault=BOOM)), "has ended and is timed out: ValueError"),
        ((CREATED, End(rid="e", outcome="cancelled", reason="no")), "has ended and is cancelled (no)."),
        ((), "its journal is closed"),
    ],
)
def test_the_sentence_names_what_would_move_the_run(records: tuple[Record, ...], sentence: str) -> None:
    assert sentence in told(*records)
