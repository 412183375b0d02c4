"""What fits a filter now, as many as may be changed at once: runs by the history, the rest by the broker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.api.history_rows import document
from gateway.api.run_query import query_of
from tidemill.history.selecting import SECONDS, select_runs
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.services.bulk import MOST
from tidemill.kernel.services.bulk_verbs import checked_kind, checked_statuses, checked_verb
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.quarantine_query import QuarantineQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.services.bulk import BulkActions, Selection
    from tidemill.kernel.services.bulk_verbs import Verb
    from tidemill.kernel.services.dead import DeadLetter, DeadLetters
    from tidemill.kernel.services.looking import Found
    from tidemill.kernel.services.quarantine import Quarantine, Quarantined

FIRST: Final = 20
"""So many of a selection are shown."""
_NONE: Final = "no filter is given"


class Chosen(NamedTuple):
    """What fits: its names, whether it is all that fits, and the first of it as JSON objects."""

    items: Sequence[str]
    complete: bool
    first: list[dict[str, Any]]


class Order(NamedTuple):
    """What is asked for: what to do, to all of what, and why."""

    what: object
    action: object
    where: Mapping[str, str]
    reason: str


@dataclass(frozen=True, slots=True)
class Chooser:
    """Finds what fits."""

    history: HistoryReader
    letters: DeadLetters
    quarantine: Quarantine

    async def select(
        self, actions: BulkActions, order: Order, by: str
    ) -> tuple[Selection, list[dict[str, Any]]]:
        """Select what fits now; return the selection and the first of it.

        Raises:
            PayloadError: the filter or the action can't be used.
            HistoryError: runs are asked for, and the history can't be.
            BrokerError: the broker can't be asked.
        """
        kind = checked_kind(order.what)
        verb = checked_verb(order.action, kind)
        match kind:
            case "runs":
                chosen = await self._runs(verb, order.where)
            case "dead":
                chosen = await self._letters(order.where)
            case "quarantine":
                chosen = await self._entries(order.where)
        selection = await actions.select(
            verb,
            chosen.items,
            kind=kind,
            where=order.where,
            complete=chosen.complete,
            reason=order.reason,
            by=by,
        )
        return selection, chosen.first

    async def first_letters(self, items: Sequence[str]) -> list[DeadLetter]:
        """Return the letters of the first runs, as far as they are still there."""
        found: list[DeadLetter] = []
        for item in items[:FIRST]:
            try:
                found.append(await self.letters.find(item))
            except NotFoundError:
                continue  # it has been retried meanwhile
        return found

    async def first_entries(self, items: Sequence[str]) -> list[Quarantined]:
        """Return the first entries, as far as they are still there."""
        found: list[Quarantined] = []
        for item in items[:FIRST]:
            try:
                found.append(await self.quarantine.at(int(item)))
            except NotFoundError:
                continue  # it has been released meanwhile
        return found

    async def _runs(self, verb: Verb, where: Mapping[str, str]) -> Chosen:
        query = query_of(where)
        query = replace(query, statuses=checked_statuses(verb, query.statuses))
        found = await select_runs(self.history, query, most=MOST)
        items = [row.id for row in found.rows]
        return Chosen(items, found.complete, [document(row) for row in found.rows[:FIRST]])

    async def _letters(self, where: Mapping[str, str]) -> Chosen:
        query = DeadQuery.parse(where)
        if _is_blank(where):
            raise PayloadError(_NONE, hint="say which dead letters, like task=deploy or since=2h")
        found = await self.letters.select(query, limit=MOST, seconds=SECONDS)
        return _chosen(found, [letter.summary() for letter in await self.first_letters(found.rows)])

    async def _entries(self, where: Mapping[str, str]) -> Chosen:
        query = QuarantineQuery.parse(where)
        if _is_blank(where):
            raise PayloadError(_NONE, hint="say which entries, like source=github or reason=schema")
        found = await self.quarantine.select(query, limit=MOST, seconds=SECONDS)
        return _chosen(found, [entry.summary() for entry in await self.first_entries(found.rows)])


def _is_blank(where: Mapping[str, str]) -> bool:
    """Say whether no filter is set: one of blanks isn't, and everything would fit."""
    return not any(text.strip() for text in where.values())


def _chosen(found: Found[str], first: list[dict[str, Any]]) -> Chosen:
    return Chosen(found.rows, found.next is None, first)
