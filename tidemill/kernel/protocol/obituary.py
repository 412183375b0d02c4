"""What a parent hears of its child's end."""

from __future__ import annotations

from typing import Final

import orjson

from tidemill.kernel.protocol.records import End, Fault, Item, Parent

TOLD_LIMIT: Final = 8 * 1024
"""The largest result, in bytes of JSON, that a child's parent is sent; larger ones it reads itself."""


def obituary(run: str, parent: Parent, end: End) -> Item:
    """Return what a parent hears of its child's end; it hears the first one only.

    A child that was reopened after its parent had heard of its failure goes on for itself.
    """
    small = end.blob is None and len(orjson.dumps(end.result)) <= TOLD_LIMIT
    return Item(
        id=f"end-{run}",
        box=parent.box,
        who=str(parent.index),
        ok=end.outcome == "completed",
        data=end.result if small else None,
        run=run if end.outcome != "completed" or not small else None,
        fault=_told(end),
    )


def _told(end: End) -> Fault | None:
    """Return why a child didn't complete, without its traceback."""
    if end.outcome == "completed":
        return None
    fault = end.fault
    return Fault(fault.type if fault else end.outcome, fault.message if fault else end.reason)
