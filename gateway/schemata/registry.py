"""The schemas as they are shown: versions, whom they hold, their text, samples, and what has drifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.posting import directories
from gateway.recipes.samples import find_sample, sample_types
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.drift_reports import summed

if TYPE_CHECKING:
    from gateway.schemas import EventSchema, SchemaStore
    from gateway.schemata.drift import DriftWatch
    from tidemill.kernel.services.events import Events
    from tidemill.kernel.settings.model import Settings

_REPORTS: Final = 200
KINDS: Final = ("new_field", "missing_field", "new_type", "new_value")
"""What differs, in the order in which pages show it."""


class SchemaRegistry:
    """Says what is known of schemas.

    Args:
        settings: which sources use them, and where samples are.
        store: the schemas.
        watch: what this process has found to differ.
        events: where all processes' reports of drift are.
    """

    def __init__(self, settings: Settings, store: SchemaStore, watch: DriftWatch, events: Events) -> None:
        self._settings = settings
        self._store = store
        self._watch = watch
        self._events = events

    def rows(self, source: str | None = None) -> list[dict[str, Any]]:
        """Return the types that have schemas, with versions and the configured sources that they hold."""
        found: dict[tuple[str, str], list[int]] = {}
        for owner, event_type, version, _ in self._store.known():
            if source in (None, owner) or source in self._held_by(owner):
                found.setdefault((owner, event_type), []).append(version)
        return [
            {
                "source": owner,
                "type": event_type,
                "versions": versions,
                "holds": self._held_by(owner),
                **self._counted(owner, event_type),
            }
            for (owner, event_type), versions in found.items()
        ]

    def find(self, source: str, event_type: str, version: int | None = None) -> EventSchema:
        """Return a schema, by default its newest version.

        Raises:
            NotFoundError: there is none.
        """
        for schema in self._store.versions((source,), (event_type,)):
            if version in (None, int(schema.path.stem)):
                return schema
        raise NotFoundError(
            f"there is no such schema of {event_type!r} for {source!r}",
            hint="`tidemill schemas list` shows all",
        )

    def versions(self, source: str, event_type: str) -> list[int]:
        """Return the versions of a type, the newest first."""
        return [int(schema.path.stem) for schema in self._store.versions((source,), (event_type,))]

    def samples(self, source: str, event_type: str) -> dict[str, Any]:
        """Return the samples of a type, by their types with actions."""
        folders = directories(self._settings)
        names = [
            name
            for name in sample_types(source, folders)
            if name == event_type or name.startswith(f"{event_type}.")
        ]
        return {name: find_sample(source, name, folders) for name in names}

    async def drift(self, source: str | None = None, event_type: str | None = None) -> list[dict[str, Any]]:
        """Return what gateways have reported of a schema's types, as long as the records are kept.

        Raises:
            BrokerError: the records can't be read.
        """
        names = [None] if source is None else self._held_by(source)
        found = [
            row
            for name in names
            for row in summed(await self._events.records(kind="drift", source=name, limit=_REPORTS))
        ]
        return [row for row in found if event_type is None or _is_of(event_type, str(row["type"]))]

    def _held_by(self, owner: str) -> list[str]:
        """Return the configured sources whose deliveries are held against an owner's schemas."""
        return sorted(
            name for name, source in self._settings.sources.items() if owner in (name, source.preset)
        )

    def _counted(self, owner: str, event_type: str) -> dict[str, Any]:
        """Return what this process has looked at since it started, and what of it differed."""
        held = self._held_by(owner)
        looked = sum(
            number
            for (name, label), number in self._watch.looked.items()
            if name in held and label == event_type
        )
        drifting = dict.fromkeys(KINDS, 0)
        for (name, label, kind), number in self._watch.drifting.items():
            if name in held and label == event_type:
                drifting[kind] = drifting.get(kind, 0) + number
        return {"looked": looked, "drifting": drifting}


def _is_of(event_type: str, full: str) -> bool:
    return full == event_type or full.startswith(f"{event_type}.")
