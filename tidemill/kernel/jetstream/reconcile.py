"""Bringing streams and consumers to what is declared: what would change, in sentences, and doing it.

Only declared fields are compared and changed; what an operator has set beside them (placement, description,
compression) stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.api import (
    CONSUMER_EXISTS,
    CONSUMER_NOT_FOUND,
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
)

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

Config: TypeAlias = Mapping[str, Any]
SECOND: Final = 1_000_000_000  # JetStream's durations are nanoseconds

_DURATIONS: Final = frozenset({"max_age", "duplicate_window", "ack_wait", "inactive_threshold"})
# server/stream.go `configUpdateCheck` and server/consumer.go `checkNewConsumerConfig`, 2.15.
_FIXED_STREAM_FIELDS: Final = frozenset(
    {"storage", "retention", "max_consumers", "deny_delete", "deny_purge"}
)
_FIXED_CONSUMER_FIELDS: Final = frozenset({"deliver_policy", "ack_policy", "max_waiting", "mem_storage"})
# These can be switched on later, but never off again.
_ONE_WAY_FIELDS: Final = frozenset({"allow_msg_ttl", "allow_msg_schedules"})


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream as it shall be."""

    name: str
    config: Config

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        return f"stream {self.name}"


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable consumer as it shall be; fields in `initial` are set at creation and left alone later."""

    stream: str
    name: str
    config: Config
    initial: Config = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called in sentences."""
        return f"consumer {self.name} of {self.stream}"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what is declared and what the broker has; its text is a sentence."""

    kind: Literal["created", "changed", "refused"]
    target: str
    field: str = ""
    old: Any = None
    new: Any = None

    def __str__(self) -> str:
        if self.kind == "created":
            return f"{self.target}: created"
        values = f"{self.field} {_readable(self.field, self.old)} -> {_readable(self.field, self.new)}"
        if self.kind == "changed":
            return f"{self.target}: {values}"
        return f"{self.target}: {values} refused, the broker can't change this on what exists"


async def reconcile_stream(bus: Bus, spec: StreamSpec, *, dry: bool) -> list[Change]:
    """Compare a stream with its declaration and, unless `dry`, create or change it.

    Raises:
        BrokerError: the broker refused a change that should have been possible.
    """
    current = await _config(bus, f"STREAM.INFO.{spec.name}", STREAM_NOT_FOUND)
    wanted = {"name": spec.name, **spec.config}
    if current is None:
        if not dry and not await _create(bus, f"STREAM.CREATE.{spec.name}", wanted, STREAM_NAME_IN_USE):
            return await reconcile_stream(bus, spec, dry=False)
        return [Change("created", spec.title)]
    changes = _differences(spec.title, current, wanted, _FIXED_STREAM_FIELDS)
    update = _update(current, changes)
    if update is not None and not dry:
        await bus.api(f"STREAM.UPDATE.{spec.name}", update)
    return changes


async def reconcile_consumer(bus: Bus, spec: ConsumerSpec, *, dry: bool) -> list[Change]:
    """Compare a durable consumer with its declaration and, unless `dry`, create or change it.

    Raises:
        BrokerError: the broker refused a change that should have been possible.
    """
    missing = (CONSUMER_NOT_FOUND, STREAM_NOT_FOUND) if dry else (CONSUMER_NOT_FOUND,)
    current = await _config(bus, f"CONSUMER.INFO.{spec.stream}.{spec.name}", *missing)
    operation = f"CONSUMER.DURABLE.CREATE.{spec.stream}.{spec.name}"
    request: dict[str, Any] = {"stream_name": spec.stream}
    if current is None:
        config = {"durable_name": spec.name, **spec.initial, **spec.config}
        request |= {"action": "create", "config": config}
        if not dry and not await _create(bus, operation, request, CONSUMER_EXISTS):
            return await reconcile_consumer(bus, spec, dry=False)
        return [Change("created", spec.title)]
    changes = _differences(spec.title, current, spec.config, _FIXED_CONSUMER_FIELDS)
    update = _update(current, changes)
    if update is not None and not dry:
        await bus.api(operation, request | {"action": "update", "config": update})
    return changes


async def _config(bus: Bus, operation: str, *missing: int) -> dict[str, Any] | None:
    try:
        config: dict[str, Any] = (await bus.api(operation))["config"]
    except BrokerError as error:
        if error.code in missing:
            return None
        raise
    return config


async def _create(bus: Bus, operation: str, request: Config, taken: int) -> bool:
    """Create something; False where somebody else has just created it with another configuration."""
    try:
        await bus.api(operation, request)
    except BrokerError as error:
        if error.code == taken:
            return False
        raise
    return True


def _differences(title: str, current: Config, wanted: Config, fixed: frozenset[str]) -> list[Change]:
    changes = []
    for name, new in wanted.items():
        old = current.get(name)
        if old == new or (not old and not new):  # what is off or empty the broker leaves out
            continue
        stuck = name in fixed or (name in _ONE_WAY_FIELDS and not new)
        changes.append(Change("refused" if stuck else "changed", title, name, old, new))
    return changes


def _update(current: Config, changes: list[Change]) -> dict[str, Any] | None:
    """Return the whole configuration with what can be changed, None where nothing can."""
    possible = {change.field: change.new for change in changes if change.kind == "changed"}
    return {**current, **possible} if possible else None


def _readable(name: str, value: Any) -> str:
    if name in _DURATIONS and isinstance(value, int):
        return f"{value / SECOND:g} s"
    return "unset" if value is None else str(value)
