"""Rows of runs for lists: from the history, or from the journals where that can't be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from gateway.dashboard.part import part
from tidemill.history.rows import RunRow

if TYPE_CHECKING:
    from gateway.dashboard.services import Services
    from tidemill.history.run_lists import RunQuery
    from tidemill.kernel.services.run_view import RunView

PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class RunTable:
    """A page of runs: its rows, the next page's cursor, where it is from, and what can't be shown."""

    rows: tuple[RunRow, ...]
    cursor: str | None
    origin: Literal["history", "journal", "nowhere"]
    missing: str = ""


async def find_runs(
    services: Services, query: RunQuery, *, cursor: str | None = None, limit: int = PAGE
) -> RunTable:
    """Return a page of runs.

    Raises:
        PayloadError: a filter or the cursor can't be used.
    """
    kept = await part(services.history.runs(query, cursor=cursor, limit=limit))
    if kept.content is not None:
        return RunTable(kept.content.rows, kept.content.cursor, "history")
    missing = f"The history can't be asked: {kept.missing}."
    if not _by_journals(query):
        return RunTable((), None, "nowhere", f"{missing} Without it there are no such filters.")
    status = query.statuses[0] if query.statuses else None
    told = await part(services.runs.list(task=query.task, status=status, limit=limit))
    if told.content is None:
        return RunTable((), None, "nowhere", f"{missing} Nor can the journals: {told.missing}.")
    rows = tuple(row_of(view) for view in told.content)
    return RunTable(
        rows, None, "journal", f"{missing} These are the runs that changed last, by their journals."
    )


def row_of(view: RunView) -> RunRow:
    """Return a run that was read from its journal as the history would have it, as far as lists show it."""
    state, created, end = view.state, view.state.created, view.state.end
    event = (created.event or {}) if created is not None else {}
    taken = created.taken if created is not None else None
    fault = state.faults[-1] if state.faults and view.status != "completed" else None
    return RunRow(
        number=state.tail,
        id=view.id,
        task=state.task or "",
        status=view.status,
        attempt=state.attempt if state.starts else 0,
        created_at=state.began_at or state.changed_at,
        started_at=state.started_at or None,
        changed_at=state.changed_at,
        ended_at=state.changed_at if end is not None else None,
        source=event.get("source"),
        type=event.get("type"),
        event_id=event.get("id"),
        tags=tuple(created.tags) if created is not None else (),
        replayof=created.replayof if created is not None else None,
        fork_at=(taken.key or str(taken.at)) if taken is not None else None,
        worker=state.owner.worker if state.owner is not None else None,
        error=(fault.type, fault.message) if fault is not None else None,
    )


def _by_journals(query: RunQuery) -> bool:
    """Say whether the journals can answer a query: they know tasks and one status."""
    others = (query.source, query.type, query.tag, query.text, query.since, query.until, query.fingerprint)
    kin = (query.parent_id, query.root_id, query.replayof, query.event_number)
    return len(query.statuses) <= 1 and all(value is None for value in (*others, *kin))
