"""Everything that Tidemill keeps on the broker, declared in one place.

Why each stream is as it is stands beside it. `diff` tells what `apply` would do; a second `apply` does
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.jetstream.reconcile import (
    SECOND,
    Change,
    ConsumerSpec,
    StreamSpec,
    reconcile_consumer,
    reconcile_stream,
)
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.subjects import Names

__all__ = ["Change", "Topology", "TopologyLimits", "apply", "diff", "wanted"]

ROUTER: Final = "router"
MAILMAN: Final = "mailman"
SCHEDULER: Final = "scheduler"

_DAY: Final = 86_400.0
_HOUR: Final = 3_600.0
_MINUTE: Final = 60.0
UNLIMITED: Final = -1
_WINDOWS_BYTES: Final = 64 * 1024 * 1024
_BULK_BYTES: Final = 64 << 20
_REPLIES_BYTES: Final = 64 << 20
_LOGS_OF_A_RUN: Final = 4096
_ROLE_ACK_WAIT: Final = 30.0
_ROLE_ACK_PENDING: Final = 20_000
# Open pulls on one consumer: two for each process that serves it. The broker's default is 512.
OPEN_PULLS: Final = 4096


@dataclass(frozen=True, slots=True)
class TopologyLimits:
    """What an operator may choose; durations in seconds, sizes in bytes, -1 for no limit.

    `kept` are age and size of the refused requests that a source keeps, by the source's name.
    """

    replicas: int = 1
    events_max_age: float = 7 * _DAY
    events_max_bytes: int = UNLIMITED
    duplicate_window: float = _DAY
    records_max_age: float = 7 * _DAY
    records_max_bytes: int = UNLIMITED
    deliveries_max_age: float = 7 * _DAY
    deliveries_max_bytes: int = UNLIMITED
    kept: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    quarantine_max_age: float = 30 * _DAY
    quarantine_max_bytes: int = UNLIMITED
    dead_max_age: float = 30 * _DAY
    dead_max_bytes: int = UNLIMITED
    audit_max_age: float = 365 * _DAY
    audit_max_bytes: int = UNLIMITED
    run_logs_max_age: float = 7 * _DAY
    run_logs_max_bytes: int = UNLIMITED
    workers_ttl: float = 30.0


@dataclass(frozen=True, slots=True)
class Topology:
    """The streams and the consumers of one namespace."""

    streams: tuple[StreamSpec, ...]
    consumers: tuple[ConsumerSpec, ...]


def wanted(names: Names, limits: TopologyLimits | None = None) -> Topology:
    """Return what shall stand on the broker for a namespace."""
    limits = limits or TopologyLimits()
    streams = (
        *_inbound(names, limits), *_log(names, limits), *_runs(names, limits), *_told(names, limits),
        *_stores(names, limits),
    )  # fmt: skip
    return Topology(streams, _roles(names))


async def diff(bus: Bus, topology: Topology) -> list[Change]:
    """Tell what `apply` would do, without doing it."""
    return await _reconcile(bus, topology, dry=True)


async def apply(bus: Bus, topology: Topology) -> list[Change]:
    """Create and change what differs, and tell what was done; callers may race.

    A `refused` change stays undone: the broker can't change that field on something that exists.

    Raises:
        BrokerError: the broker refused.
    """
    return await _reconcile(bus, topology, dry=False)


async def _reconcile(bus: Bus, topology: Topology, *, dry: bool) -> list[Change]:
    changes = []
    for stream in topology.streams:
        changes += await reconcile_stream(bus, stream, dry=dry)
    for consumer in topology.consumers:
        changes += await reconcile_consumer(bus, consumer, dry=dry)
    return changes


def _inbound(names: Names, limits: TopologyLimits) -> tuple[StreamSpec, ...]:
    """Events, what was decided about them, what can't be processed, and what was given up on."""
    return (
        # A full stream refuses: the sender gets 503 and tries again, nothing is lost silently.
        _stream(
            names,
            "EVENTS",
            limits,
            discard="new",
            max_bytes=limits.events_max_bytes,
            **_ages(limits.events_max_age, limits.duplicate_window),
        ),
        # Notes about the past: the oldest may go.
        _stream(
            names,
            "RECORDS",
            limits,
            discard="old",
            max_bytes=limits.records_max_bytes,
            **_ages(limits.records_max_age, _HOUR),
        ),
        # The window is that of EVENTS: the same delivery is found here for as long as there.
        _stream(
            names,
            "QUARANTINE",
            limits,
            discard="new",
            max_bytes=limits.quarantine_max_bytes,
            allow_rollup_hdrs=True,
            **_ages(limits.quarantine_max_age, limits.duplicate_window),
        ),
        _stream(
            names,
            "DEAD",
            limits,
            discard="new",
            max_bytes=limits.dead_max_bytes,
            **_ages(limits.dead_max_age, _DAY),
        ),
    )


def _log(names: Names, limits: TopologyLimits) -> tuple[StreamSpec, ...]:
    """What became of requests, in pieces of many entries.

    What strangers send has a stream of its own: however much that is, it can't push out what was taken.
    """
    whole = limits.deliveries_max_bytes
    strangers = whole // 4 if whole > 0 else UNLIMITED
    shares = {"DELIVERIES": whole - strangers if whole > 0 else UNLIMITED, "REFUSALS": strangers}
    ages = _ages(limits.deliveries_max_age, 2 * _MINUTE)
    logs = (
        _stream(names, name, limits, discard="old", max_bytes=share, **ages) for name, share in shares.items()
    )
    # Refused requests that a source keeps for a while: each source has a bound of its own.
    kept = (
        _stream(
            names,
            f"KEPT_{source}",
            limits,
            subjects=[names.subject("kept", escape(source), ">")],
            discard="old",
            max_bytes=size,
            **_ages(age, 2 * _MINUTE),
        )
        for source, (age, size) in limits.kept.items()
    )
    return (*logs, *kept)


def _runs(names: Names, limits: TopologyLimits) -> tuple[StreamSpec, ...]:
    """Tickets with their timers, signals, and journals."""
    return (
        # A ticket leaves by its acknowledgement alone (A4): no age, no count, no TTL. Schedules need "discard
        # old", which removes nothing where there is no limit. Message ids name (run, seq) and guard against a
        # repeated publish, a matter of seconds; a schedule has none.
        _stream(
            names,
            "TICKETS",
            limits,
            subjects=[names.subject("tickets", ">"), names.subject("timers", ">")],
            retention="workqueue",
            discard="old",
            allow_msg_schedules=True,
            **_ages(0, 2 * _MINUTE),
        ),
        _stream(names, "SIGNALS", limits, retention="workqueue", discard="old", **_ages(0, 2 * _MINUTE)),
        # Looks at schedules, and the plans of the next ones.
        _stream(
            names,
            "TICKS",
            limits,
            subjects=[names.subject("ticks", ">"), names.subject("wakes", ">")],
            retention="workqueue",
            discard="old",
            allow_msg_schedules=True,
            **_ages(0, 2 * _MINUTE),
        ),
        # Appends are compare-and-set and carry no message id, so the window is as good as none. A tombstone
        # has a TTL of its own, and leaves no marker behind.
        _stream(
            names,
            "JOURNAL",
            limits,
            discard="old",
            allow_rollup_hdrs=True,
            allow_msg_ttl=True,
            subject_delete_marker_ttl=0,
            **_ages(0, 1),
        ),
    )


def _stores(names: Names, limits: TopologyLimits) -> tuple[StreamSpec, ...]:
    """The key-value buckets (ADR-8) and the object store (ADR-20)."""
    blobs = names.stream("BLOBS")
    return (
        _bucket(names, "TASKS", limits, max_age=0),
        _bucket(names, "SCHEDULES", limits, max_age=0),
        _bucket(names, "WORKERS", limits, max_age=limits.workers_ttl),
        _bucket(names, "SECRETS", limits, max_age=0),
        _bucket(names, "TENANTS", limits, max_age=0, allow_msg_ttl=True),
        _bucket(names, "DESTINATIONS", limits, max_age=0),
        _bucket(names, "WAITS", limits, max_age=0, allow_msg_ttl=True),
        # Logins that were ended: each until it would have ended by itself.
        _bucket(names, "SESSIONS", limits, max_age=0, allow_msg_ttl=True),
        _bucket(names, "HISTORY", limits, max_age=0),
        # What operators have selected to do to many runs, and how far that is.
        _bucket(names, "BULK", limits, max_age=_DAY, discard="old", max_bytes=_BULK_BYTES),
        # What operators have decided about tasks: paused, limited.
        _bucket(names, "OVERRIDES", limits, max_age=0),
        # How alerts stand, what is silenced, and what is asked of their channels.
        _bucket(names, "ALERTS", limits, max_age=0, allow_msg_ttl=True),
        # What runs have answered, each for a day: where there is too much the oldest goes first.
        _bucket(
            names, "REPLIES", limits, max_age=0, discard="old", max_bytes=_REPLIES_BYTES, allow_msg_ttl=True
        ),
        # Notes of deliveries, each with a TTL of its own: where there are too many the oldest go first.
        _bucket(
            names, "WINDOWS", limits, max_age=0, discard="old", max_bytes=_WINDOWS_BYTES, allow_msg_ttl=True
        ),
        StreamSpec(
            f"OBJ_{blobs}",
            _config(
                limits,
                subjects=[f"$O.{blobs}.C.>", f"$O.{blobs}.M.>"],
                discard="new",
                allow_rollup_hdrs=True,
                allow_msg_ttl=True,
                **_ages(0, 2 * _MINUTE),
            ),
        ),
    )


def _told(names: Names, limits: TopologyLimits) -> tuple[StreamSpec, ...]:
    """What people look up: who changed what, and what runs have logged. The oldest may go."""
    return (
        _stream(
            names,
            "AUDIT",
            limits,
            discard="old",
            max_bytes=limits.audit_max_bytes,
            **_ages(limits.audit_max_age, 2 * _MINUTE),
        ),
        # A subject for each run: of one that says too much the oldest goes, whatever the others have.
        _stream(
            names,
            "LOGS",
            limits,
            discard="old",
            max_bytes=limits.run_logs_max_bytes,
            max_msgs_per_subject=_LOGS_OF_A_RUN,
            **_ages(limits.run_logs_max_age, 2 * _MINUTE),
        ),
    )


def _bucket(names: Names, name: str, limits: TopologyLimits, *, max_age: float, **fields: Any) -> StreamSpec:
    bucket = names.stream(name)
    window = min(max_age, 2 * _MINUTE) if max_age else 2 * _MINUTE
    config = _config(
        limits,
        subjects=[f"$KV.{bucket}.>"],
        max_msgs_per_subject=1,
        allow_rollup_hdrs=True,
        deny_delete=True,
        **{"discard": "new", **fields},
        **_ages(max_age, window),
    )
    return StreamSpec(f"KV_{bucket}", config)


def _stream(names: Names, name: str, limits: TopologyLimits, **fields: Any) -> StreamSpec:
    subjects = [names.subject(name.lower(), ">")]
    return StreamSpec(names.stream(name), _config(limits, **{"subjects": subjects, **fields}))


def _config(limits: TopologyLimits, **fields: Any) -> dict[str, Any]:
    return {
        "storage": "file",
        "retention": "limits",
        "num_replicas": limits.replicas,
        "max_msgs": UNLIMITED,
        "max_bytes": UNLIMITED,
        "max_msgs_per_subject": UNLIMITED,
        "allow_direct": True,
        **fields,
    }


def _ages(max_age: float, window: float) -> dict[str, int]:
    """Return a stream's age limit (0: none) and its duplicate window, which must not be longer."""
    longest = min(window, max_age) if max_age else window
    return {"max_age": int(max_age * SECOND), "duplicate_window": int(longest * SECOND)}


def _roles(names: Names) -> tuple[ConsumerSpec, ...]:
    """The durables of the engine's roles; each may be served by several processes."""
    role = {
        "ack_policy": "explicit",
        "deliver_policy": "all",
        "ack_wait": int(_ROLE_ACK_WAIT * SECOND),
        "max_deliver": UNLIMITED,
        "max_ack_pending": _ROLE_ACK_PENDING,
        "max_waiting": OPEN_PULLS,
    }
    return (
        # All events from the first one on: which tasks want them is decided in code, since a filter that is
        # widened later doesn't bring back what has passed.
        ConsumerSpec(names.stream("EVENTS"), ROUTER, role | {"filter_subject": names.subject("events", ">")}),
        ConsumerSpec(
            names.stream("SIGNALS"), MAILMAN, role | {"filter_subject": names.subject("signals", ">")}
        ),
        ConsumerSpec(
            names.stream("TICKS"), SCHEDULER, role | {"filter_subject": names.subject("ticks", ">")}
        ),
    )
