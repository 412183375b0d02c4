"""Which tasks want an event, and why the others don't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.protocol import routing
from tidemill.kernel.where import Broken, Filtered, Where, compile_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill.kernel.definition import TaskDefinition


class Interest:
    """Asks definitions about events; keeps the conditions that it has compiled."""

    def __init__(self) -> None:
        self._wheres: dict[str, Where] = {}

    def verdicts(
        self, interested: Sequence[TaskDefinition], facts: Mapping[str, Any], raw: bytes
    ) -> list[routing.Verdict]:
        """Return the verdicts of those tasks whose patterns an event's type fits."""
        data: Any = None
        if any(definition.where is not None for definition in interested):
            try:
                data = facts["value"] if "value" in facts else orjson.loads(raw or b"null")
            except orjson.JSONDecodeError as error:
                return [_unreadable(definition, error) for definition in interested]
        return [self._verdict(definition, facts, data) for definition in interested]

    def _verdict(self, definition: TaskDefinition, facts: Mapping[str, Any], data: Any) -> routing.Verdict:
        if definition.where is None:
            return _wanted(definition)
        try:
            where = self._wheres.get(definition.where) or compile_where(definition.where)
        except DefinitionError as error:  # a newer version's worker may know more of the language
            return routing.Broken(definition.id, definition.where, None, error.sentence, definition.hooks)
        self._wheres[definition.where] = where
        result = where.evaluate(
            data,
            facts["type"],
            facts["source"],
            facts.get("subject"),
            facts.get("headers", {}),
            tenant=facts.get("tenant"),
        )
        match result:
            case Filtered(clause=clause, value=value):
                return routing.Filtered(definition.id, clause, value)
            case Broken(clause=clause, value=value, reason=reason):
                return routing.Broken(definition.id, clause, value, reason, definition.hooks)
            case _:
                return _wanted(definition)


def _wanted(definition: TaskDefinition) -> routing.Wanted:
    return routing.Wanted(definition.id, definition.hooks, definition.reply)


def _unreadable(definition: TaskDefinition, error: orjson.JSONDecodeError) -> routing.Verdict:
    """Return a task's verdict on an event whose data is no JSON: only a `where` has to read it."""
    if definition.where is None:
        return _wanted(definition)
    reason = f"the event's data is no JSON: {error}"
    return routing.Broken(definition.id, definition.where, None, reason, definition.hooks)
