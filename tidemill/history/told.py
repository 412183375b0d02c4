"""What parts of records say in a history: shortened, without what is empty."""

from __future__ import annotations

from typing import Any

from tidemill.history.shortening import NAME_LIMIT, clean, tail, value


def fork_point(taken: dict[str, Any] | None) -> str | None:
    """Return where the other run was forked: the part that was chosen, or the record."""
    return None if taken is None else clean(taken.get("key") or str(taken["at"]), NAME_LIMIT)


def fault_told(fault: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a fault says, none where there is none."""
    if fault is None:
        return {}
    error = f"{fault.get('type', '')}: {fault.get('message', '')}"
    return {"error": clean(error), "traceback": tail(fault.get("traceback", "")) or None}


def item_told(item: dict[str, Any]) -> dict[str, Any]:
    """Return a piece of news; that of a child is no more than its end, whose result stands in its own row."""
    told = {"who": item["who"], "ok": item.get("ok", True), "run": item.get("run"), "at": item.get("at")}
    if item.get("run") is None:
        told |= {"data": value(item.get("data")), "blob": item.get("blob")}
    return {name: given for name, given in told.items() if given is not None} | fault_told(item.get("fault"))
