"""What viewers don't see: fields of events and inputs that their JSON Schemas mark as secret.

Whoever may do more than look sees them. A body that can't be taken apart, and the input of a task that isn't
known any more, is hidden as a whole where it may hold such a field.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.access.identity import Right, visit_of
from gateway.events.endpoint import SOURCE as EVENTS
from gateway.schemata.secret_fields import STARS, marks_secrets, masked
from tidemill.history.rows import Body
from tidemill.kernel.errors import BrokerError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from gateway.schemas import SchemaStore
    from tidemill.history.rows import EventRow, RunDetail
    from tidemill.kernel.services.registry import Definitions
    from tidemill.kernel.services.token_view import TokenView
    from tidemill.kernel.settings.model import Settings

_FRESH: Final = 2.0
"""How old a view of the tasks may be, in seconds."""
HINT: Final = "that takes another role than viewer"


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides what some schemas mark as secret; nothing without any.

    Attributes:
        schemas: those that mark something.
        blind: whether it isn't known what is secret, so that all is hidden.
    """

    schemas: tuple[Any, ...] = ()
    blind: bool = False

    @property
    def active(self) -> bool:
        """Whether there may be something to hide."""
        return self.blind or bool(self.schemas)

    def value(self, value: Any) -> Any:
        """Return a JSON value as it may be seen."""
        if not self.active or value is None:
            return value
        return STARS if self.blind else masked(value, self.schemas)

    def raw(self, data: bytes) -> bytes | None:
        """Return the bytes of a body as they may be seen; None where they can't be taken apart."""
        if not self.active:
            return data
        try:
            document = orjson.loads(data or b"null")
        except orjson.JSONDecodeError:
            return None
        return None if self.blind and document is not None else orjson.dumps(self.value(document))

    def whole(self, data: bytes) -> bytes:
        """Return the bytes of a body as they may be seen.

        Raises:
            NotAllowedError: they can't be taken apart.
        """
        found = self.raw(data)
        if found is None:
            raise NotAllowedError("the body may hold fields that are secret", hint=HINT)
        return found

    def body(self, body: Body) -> Body | None:
        """Return a body of the history as it may be seen; None where it can't be taken apart."""
        if not self.active or body.data is None:
            return body
        found = self.raw(body.data) if body.whole else None
        return Body(size=len(found), data=found) if found is not None else None

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event's attributes as they may be seen; some events have their data among them."""
        return {name: self.value(one) if name == "value" else one for name, one in facts.items()}

    def seen(self, verdict: Mapping[str, Any]) -> dict[str, Any]:
        """Return a verdict as it may be seen: not the value that its clause saw, nor a sentence about it."""
        if not self.active:
            return dict(verdict)
        return {name: STARS if name in _TELLING and one is not None else one for name, one in verdict.items()}

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record of what was decided about events as it may be seen."""
        told = dict(record)
        if "verdicts" in told:
            told["verdicts"] = [self.seen(one) for one in told["verdicts"]]
        if self.active and "findings" in told:
            told["findings"] = [one | {"example": STARS} for one in told["findings"]]
        return told

    def quarantined(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a list shows of an entry of the quarantine as it may be seen."""
        return {**summary, "reason": self.seen(summary["reason"])}

    def run(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return a run as the API tells of it; its result may hold what was secret in its input."""
        result = facts.get("result")
        return {**facts, "result": STARS} if self.active and result is not None else dict(facts)

    def detail(self, detail: RunDetail) -> RunDetail:
        """Return everything about a run as it may be seen: its input, and nothing of what it made of that."""
        if not self.active:
            return detail
        return replace(
            detail,
            payload=self.body(detail.payload) or Body(size=detail.payload.size),
            result=Body(size=detail.result.size),
            spans=tuple(replace(span, data={}) for span in detail.spans),
            timeline=tuple(replace(row, data={}) for row in detail.timeline),
        )

    def row(self, event: EventRow) -> EventRow:
        """Return an event of the history as it may be seen."""
        verdicts = tuple(replace(one, data=self.seen(one.data)) for one in event.verdicts)
        return replace(event, verdicts=verdicts) if self.active else event


_TELLING: Final = ("value", "detail", "reason")
NOTHING: Final = Mask()


class Masks:
    """Finds the masks of whoever asks.

    Args:
        settings: the presets of sources.
        store: the schemas of events.
        definitions: the tasks, with the schemas of their inputs.
    """

    def __init__(self, settings: Settings, store: SchemaStore, definitions: Definitions) -> None:
        self._settings = settings
        self._store = store
        self._definitions = definitions

    def of_event(self, request: Request, source: str | None, event_type: str | None) -> Mask:
        """Return the mask of an event, by its source, with its tenant, and its full type."""
        return NOTHING if may_see(request) else Mask(self.marking(source or "", event_type or ""))

    async def of_run(
        self, request: Request, task: str, source: str | None = None, event_type: str | None = None
    ) -> Mask:
        """Return the mask of a run's input, by its task and the event that started it."""
        if may_see(request):
            return NOTHING
        of_event = self.marking(source, event_type or "") if source else ()
        with contextlib.suppress(BrokerError):  # those that were known count on; without any all is hidden
            await self._definitions.refresh(newer_than=time.time() - _FRESH)
        try:
            schema = self._definitions.find(task).payload_schema
        except NotFoundError:
            return Mask(blind=True)
        return Mask((*of_event, *self._marked((schema,))))

    def of_token(self, request: Request, token: TokenView) -> Mask:
        """Return the mask of a token's answers; once it is decided it isn't known any more what they fit."""
        if may_see(request):
            return NOTHING
        return Mask(self._marked((token.schema,)), blind=token.facts is None)

    async def check_search(self, request: Request, text: str | None) -> None:
        """Refuse to search the words of inputs for those who may not see all of them.

        Raises:
            NotAllowedError: inputs may hold what is secret.
        """
        if text is None or may_see(request):
            return
        await self._definitions.refresh(newer_than=time.time() - _FRESH)
        tasks = [definition.payload_schema for definition in self._definitions.active()]
        if self._marked(tasks) or any(self._of_source(name) for name in (*self._settings.sources, EVENTS)):
            raise NotAllowedError("inputs hold fields that are secret, and can't be searched", hint=HINT)

    def check_feed(self, request: Request, source: str) -> None:
        """Refuse whole deliveries of a source to those who may not see all of them.

        Raises:
            NotAllowedError: they may hold what is secret.
        """
        if not may_see(request) and self._of_source(source.partition("/")[0]):
            raise NotAllowedError(f"deliveries of {source} hold fields that are secret", hint=HINT)

    def marking(self, source: str, event_type: str) -> tuple[Any, ...]:
        """Return the schemas that mark fields of an event's type, with its action or without, as secret."""
        name = source.partition("/")[0]
        if name not in self._settings.sources:
            found = [self._store.versions((EVENTS, source), (event_type,))]
        else:
            parts = event_type.removeprefix(f"{name}.").split(".")
            types = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
            found = [self._store.versions((owner,), (one,)) for owner in self._owners(name) for one in types]
        return self._marked([schema.document for versions in found for schema in versions])

    def _of_source(self, name: str) -> tuple[Any, ...]:
        """Return the schemas that mark fields of any type of a source."""
        owners = self._owners(name)
        types = {(owner, one) for owner, one, _, _ in self._store.known() if owner in owners}
        found = [self._store.versions((owner,), (one,)) for owner, one in types]
        return self._marked([schema.document for versions in found for schema in versions])

    def _owners(self, name: str) -> tuple[str, ...]:
        source = self._settings.sources.get(name)
        return (name,) if source is None or source.preset is None else (name, source.preset)

    def _marked(self, schemas: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(schema for schema in schemas if marks_secrets(schema))


def may_see(request: Request) -> bool:
    """Say whether whoever asks sees secret fields: all who may do more than look."""
    visit = visit_of(request)
    return visit is not None and (visit.identity.may(Right.OPERATE) or visit.identity.may(Right.APPROVE))
