"""A dry run of the router: which tasks an event would start, and why not the others. Nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.routing import Wanted, describe
from tidemill.kernel.services.interest import Interest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tidemill.kernel.definition import TaskDefinition
    from tidemill.kernel.services.events import Events
    from tidemill.kernel.services.registry import Definitions

STARTS: Final = "starts"
OTHER_TYPE: Final = "other_type"
SOURCE: Final = "dry-run"
"""The source of an event that names none."""
_TEXTS: Final = ("type", "source", "subject", "tenant")


@dataclass(frozen=True, slots=True)
class DryRun:
    """Asks all tasks that are known now."""

    definitions: Definitions
    events: Events
    interest: Interest = field(default_factory=Interest)

    async def of_event(self, name: str, sources: Iterable[str] = ()) -> dict[str, Any]:
        """Return what the tasks as they are now would make of a stored event.

        Raises:
            NotFoundError: there is no such event.
            BrokerError: events or tasks can't be read.
        """
        event = await self.events.find(name, sources)
        return await self._of(event.facts, await self.events.body(event))

    async def of_document(self, document: Any) -> dict[str, Any]:
        """Return what they would make of an event that is written as CloudEvents' JSON.

        Only `type` has to be there; `data` are the event's data, `headers` those of the request that would
        have brought it.

        Raises:
            PayloadError: it isn't that.
            BrokerError: the tasks can't be read.
        """
        facts = read_document(document)
        return await self._of(facts, b"")

    async def _of(self, facts: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
        await self.definitions.refresh()
        tasks = sorted(self.definitions.active(), key=lambda one: one.id)
        interested = [one for one in tasks if one.wants(str(facts["type"]))]
        verdicts = self.interest.verdicts(interested, facts, raw)
        told = {one.task: _told(one) for one in verdicts}
        event = {name: facts[name] for name in ("id", *_TEXTS) if facts.get(name) is not None}
        return {"event": event, "tasks": [_row(one, told.get(one.id)) for one in tasks]}


def read_document(document: Any) -> dict[str, Any]:
    """Return the attributes of an event that somebody has written, its data as `value`.

    Raises:
        PayloadError: it is no event.
    """
    if not isinstance(document, dict):
        raise PayloadError("the event is no JSON object", hint='write {"type": "…", "data": …}')
    facts: dict[str, Any] = {"source": SOURCE, "value": document.get("data")}
    for name in _TEXTS:
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise PayloadError(f"{name}: it is no text", hint=f'write "{name}": "…"')
        facts[name] = value
    headers = document.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
        raise PayloadError("headers: they are no object of texts", hint='write "headers": {"x-name": "…"}')
    if not facts.get("type") or not facts["type"].isprintable():
        raise PayloadError("type: it can't be one", hint='write "type": "github.push"')
    return facts | {"headers": headers}


def event_in(text: str) -> Any:
    """Return the JSON that somebody has pasted.

    Raises:
        PayloadError: it is none.
    """
    try:
        return orjson.loads(text.encode("utf-8", "replace"))
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the event is no JSON: {error}", hint='write {"type": "…", "data": …}') from error


def _told(verdict: Any) -> dict[str, Any]:
    if isinstance(verdict, Wanted):
        return {"task": verdict.task, "verdict": STARTS}
    told = describe(verdict)
    told.pop("hooks", None)
    return told


def _row(definition: TaskDefinition, told: dict[str, Any] | None) -> dict[str, Any]:
    if told is not None:
        return told
    return {"task": definition.id, "verdict": OTHER_TYPE, "on": list(definition.on)}
