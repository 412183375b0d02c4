"""Editing what stands in quarantine before it is released.

The edited data are held against the schemas that judged the delivery, by its source's policy. They travel
as the event's `value`; its raw body stays what its sender signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from gateway import strictjson
from gateway.events.endpoint import SOURCE as EVENTS
from gateway.intake import PROBLEM
from gateway.normalise import RECEIVED
from gateway.schemata.edits import changed_paths, unmasked
from gateway.sources import recipe_of
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.quarantine import Edit, Quarantine, check_editable

if TYPE_CHECKING:
    from gateway.masking import Masks
    from gateway.reason import Reason
    from gateway.schemas import EventSchema, SchemaStore
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.quarantine import Quarantined
    from tidemill.kernel.settings.model import Settings

FORCE_HINT: Final = "mend it, or release it by force"


class _Rules(NamedTuple):
    """What the data of an entry are held against."""

    sources: tuple[str, ...]
    types: tuple[str, ...]
    policy: str
    limit: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """An edit that may be made.

    Attributes:
        edit: what the entry is released with; None where nothing has changed.
        paths: what was changed: places, never values.
        misfit: whether the data don't fit their schema, and are released by force.
    """

    edit: Edit | None
    paths: list[str]
    misfit: bool = False

    def told(self) -> dict[str, str]:
        """Return what the record of changes keeps of it."""
        paths = {"edited": ", ".join(self.paths)} if self.paths else {}
        return paths | ({"forced": "yes"} if self.misfit else {})


class Amendments:
    """Judges edited data of entries of the quarantine.

    Args:
        settings: the sources.
        schemas: what events are held against.
        masks: know which fields are secret.
        quarantine: where the entries stand.
        largest: bytes of data that can travel beside a body.
    """

    def __init__(
        self, settings: Settings, schemas: SchemaStore, masks: Masks, quarantine: Quarantine, largest: int
    ) -> None:
        self._settings = settings
        self._schemas = schemas
        self._masks = masks
        self._quarantine = quarantine
        self._largest = largest

    async def prepare(self, entry: Quarantined, data: bytes, by: str, *, force: bool = False) -> Amendment:
        """Judge edited data of an entry.

        Args:
            entry: what is to be released.
            data: the edited data as JSON.
            by: who has edited them.
            force: release them also where they don't fit their schema.

        Raises:
            ConflictError: the entry is a pair.
            PayloadError: the data are no sound JSON, too large, or don't fit; or a secret got lost.
            NotFoundError: the entry's body is gone.
        """
        check_editable(entry)
        rules = self._rules(entry)
        _check_size(len(data), rules.limit)
        old = await self.original(entry)
        marking = self._masks.marking(str(entry.event.get("source")), str(entry.event.get("type")))
        new = unmasked(_read(data), old, marking)
        if new is None:
            raise PayloadError("null can't be an event's data", hint="release the entry as it is instead")
        _check_size(len(orjson.dumps(new)), rules.limit)
        schema, reason = self._judge(rules, new)
        if reason is not None and rules.policy != "flag" and not force:
            raise _misfit(reason)
        paths = changed_paths(old, new)
        if not paths:
            return Amendment(None, [], misfit=reason is not None)
        marks = {PROBLEM: f"{reason.path}: released by force"} if reason is not None else {}
        edit = Edit(new, by, schema.identifier if schema is not None else None, marks)
        return Amendment(edit, paths, misfit=reason is not None)

    async def original(self, entry: Quarantined) -> Any:
        """Return an entry's data as they came; None where its body is no JSON.

        Raises:
            NotFoundError: its body is gone.
        """
        if entry.event.get("value") is not None:
            return entry.event["value"]
        try:
            return orjson.loads(await self._quarantine.body(entry))
        except orjson.JSONDecodeError:
            return None

    def _rules(self, entry: Quarantined) -> _Rules:
        source, full = str(entry.event.get("source")), str(entry.event.get("type"))
        name = source.partition("/")[0]
        settings = self._settings.sources.get(name)
        largest = self._settings.gateway.max_body
        if settings is None:
            return _Rules((EVENTS, source), (full,), "quarantine", min(largest, self._largest))
        recipe = recipe_of(name, settings)
        limit = settings.max_body or max(largest, recipe.provider.body_limit or 0)
        provider_type = full.removeprefix(f"{name}.")
        base = provider_type.rpartition(".")[0] if recipe.event.action else ""
        types = () if provider_type == RECEIVED else (provider_type, *filter(None, (base,)))
        return _Rules((name, recipe.name), types, settings.policy, min(limit, self._largest))

    def _judge(self, rules: _Rules, document: Any) -> tuple[EventSchema | None, Reason | None]:
        """Return the newest schema that data fit, or why they don't fit the newest; nothing is counted."""
        versions = self._schemas.versions(rules.sources, rules.types)
        fitting = next((schema for schema in versions if schema.validator.is_valid(document)), None)
        return fitting, versions[0].check(document) if versions and fitting is None else None


def amendments_of(settings: Settings, broker: Broker, schemas: SchemaStore, masks: Masks) -> Amendments:
    """Return what judges the edits of an installation."""
    quarantine = Quarantine(broker.bus, Events(broker.bus, broker.blobs), broker.performer)
    return Amendments(settings, schemas, masks, quarantine, broker.bus.max_payload // 2)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise PayloadError(
            f"the edited data have {size} bytes, and at most {limit} can travel beside the body",
            hint="shorten them, or have the sender send the delivery again",
        )


def _read(data: bytes) -> Any:
    try:
        return strictjson.loads(data)
    except strictjson.UnsoundJsonError as error:
        place = f" at {error.reason.path}" if error.reason.path else ""
        raise PayloadError(
            f"the edited data are no sound JSON{place}: {error.reason.detail}", hint="mend it"
        ) from error


def _misfit(reason: Reason) -> PayloadError:
    return PayloadError(
        f"the edited data don't fit their schema at {reason.path}: {reason.detail}", hint=FORCE_HINT
    )
