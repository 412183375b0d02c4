"""What `tidemill top` draws of a pulse."""

from __future__ import annotations

from dataclasses import asdict
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tidemill.cli.top import picture
from tidemill.kernel.services.pulse import Pulse, Queue, Store
from tidemill.kernel.services.ticking import Ticking

STORES = tuple(Store(name, 1, 2048, None) for name in ("EVENTS", "QUARANTINE", "DEAD"))


def drawn(**facts: Any) -> str:
    pulse = Pulse(
        at=1000.0,
        queues=(Queue("deploy", 4, 2, 2, 940.0, paused=True),),
        stores=STORES,
        lags={"router": 3, "mailman": 0},
        asleep=5,
        workers=(),
        **facts,
    )
    console = Console(file=StringIO(), width=160)
    console.print(picture(asdict(pulse), None))
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_without_schedules_there_is_no_line_of_them() -> None:
    text = drawn()
    assert "schedules" not in text
    assert all(word in text for word in ("deploy (paused)", "router behind 3", "2 KiB", "1 min"))


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (
            Ticking(active=3, paused=1, missed=4, next=1000.0 + 7300, first="tide"),
            "schedules   active 3   paused 1   missed 4   next tide in 2 h",
        ),
        (Ticking(active=1, next=1001.0, first="tide"), "schedules   active 1   next tide in 1 s"),
        (Ticking(active=1, next=999.0, first="tide", overdue=1.0), "schedules   active 1   next tide in 0 s"),
        (
            Ticking(active=2, skipped=1, next=910.0, first="<tide>", overdue=90.0),
            "schedules   active 2   skipped 1   <tide> is 1 min overdue",
        ),
        (Ticking(paused=2), "schedules   paused 2"),
    ],
)
def test_schedules_stand_in_one_line(told: Ticking, line: str) -> None:
    lines = [one.rstrip() for one in drawn(schedules=told).splitlines()]
    assert line in lines
