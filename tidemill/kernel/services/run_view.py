"""A run as users see it: its state, what happened to it, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from tidemill.kernel import clock
from tidemill.kernel.protocol.records import (
    Created,
    End,
    Entry,
    Fault,
    Item,
    News,
    Record,
    Suspend,
    Taken,
    Wait,
)
from tidemill.kernel.protocol.state import Phase, State
from tidemill.kernel.services.overrides import Override
from tidemill.kernel.services.why import why

_MOST_ITEMS: Final = 20


@dataclass(frozen=True, slots=True)
class UnreadableRun:
    """A run whose journal this version can't read, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as users see it."""

    id: str
    state: State
    entries: tuple[Entry, ...] = ()
    result: Any = None
    override: Override | None = None

    @property
    def status(self) -> str:
        """The run's state; `closed` where only its tombstone is left."""
        return str(self.state.status or "closed")

    @property
    def ended(self) -> bool:
        """Whether the run has come to its end."""
        return self.state.phase in (Phase.ENDED, Phase.CLOSED)

    def facts(self) -> dict[str, Any]:
        """Return the run as data."""
        state, created, end = self.state, self.state.created, self.state.end
        event = (created.event or {}) if created else {}
        return {
            "run_id": self.id,
            "task": state.task,
            "status": self.status,
            "attempt": state.attempt if state.starts else 0,
            "created_at": _stamp(state.began_at),
            "changed_at": _stamp(state.changed_at),
            "event": {name: event.get(name) for name in ("id", "source", "type")} if event else None,
            "key": created.key if created else None,
            "tags": list(created.tags) if created else [],
            "replayof": created.replayof if created else None,
            "forkof": _forkof(created.taken) if created and created.taken else None,
            "next_at": _stamp(state.wait.until) if state.wait and state.wait.until else None,
            "result": self.result,
            "reason": end.reason if end else "",
            "error": _error(end),
            "errors": [asdict(fault) for fault in state.faults],
        }

    def details(self) -> dict[str, Any]:
        """Return everything that is known of the run: what it waits for, and what happened to it."""
        wait = self.state.wait
        waits = [_wait(one) for one in wait.waits] if wait is not None else []
        sentence = why(self.id, self.state, self.override)
        return self.facts() | {"waits": waits, "why": sentence, "timeline": self.timeline()}

    def timeline(self) -> list[dict[str, Any]]:
        """Return what happened, one entry a record, without inputs, results and tracebacks."""
        return [
            {
                "seq": entry.seq,
                "at": _stamp(entry.at),
                "kind": entry.record.KIND if entry.record else "closed",
                **_told(entry.record),
            }
            for entry in self.entries
        ]


def _told(record: Record | None) -> dict[str, Any]:
    """Return what a record tells users, without what it leaves out."""
    names = ("key", "task", "count", "start_at", "worker", "until", "outcome", "reason", "detached", "after")
    told = {name: value for name in names if (value := getattr(record, name, None))}
    if isinstance(record, Created):
        told.pop("key", None)  # the caller's, not the code's
        if record.taken is not None:
            keys = [part.key for part in record.taken.parts if not isinstance(part, News)]
            told |= {"taken": keys[:_MOST_ITEMS], "more": max(0, len(keys) - _MOST_ITEMS)}
    told |= {name: _stamp(told[name]) for name in ("start_at", "until") if name in told}
    if isinstance(record, Suspend):
        told |= {"for": record.wait} | (
            {"waits": [_wait(one) for one in record.waits]} if record.waits else {}
        )
    if isinstance(record, News):
        told["items"] = [_item(item) for item in record.items[:_MOST_ITEMS]]
        told |= {"more": len(record.items) - _MOST_ITEMS} if len(record.items) > _MOST_ITEMS else {}
    fault: Fault | None = getattr(record, "fault", None)
    return told | ({"attempt": fault.attempt, "error": f"{fault.type}: {fault.message}"} if fault else {})


def _forkof(taken: Taken) -> dict[str, Any]:
    """Return from where a run was forked: the other run, before which record, and the part chosen there."""
    return {"run": taken.run, "at": taken.at, "key": taken.key or None}


def _wait(wait: Wait) -> dict[str, Any]:
    told = {"key": wait.key, "kind": wait.kind, "until": _stamp(wait.until)}
    return {name: value for name, value in told.items() if value}


def _item(item: Item) -> dict[str, Any]:
    told = {"box": item.box, "who": item.who, "ok": item.ok, "run_id": item.run, "at": _stamp(item.at)}
    error = f"{item.fault.type}: {item.fault.message}" if item.fault is not None else None
    return {name: value for name, value in (told | {"error": error}).items() if value is not None}


def _error(end: End | None) -> dict[str, str] | None:
    if end is None or end.outcome == "completed":
        return None
    fault = end.fault
    return {"type": fault.type if fault else end.outcome, "message": fault.message if fault else end.reason}


def _stamp(moment: float | None) -> str | None:
    return clock.rfc3339_at(moment) if moment else None
