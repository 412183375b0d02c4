"""What the queries return: rows as frozen objects. Moments are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as lists show it.

    `number` orders runs by their creation. `attempt` is that of the present or last try, 0 before the
    first; `fork_at` says at which part or record the run in `replayof` was forked, and is None where that was
    replayed; `waits` says what a suspended run waits for; `error` is `(type, message)` of its newest failure.
    """

    number: int
    id: str
    task: str
    status: str
    attempt: int
    created_at: float
    started_at: float | None = None
    changed_at: float = 0.0
    ended_at: float | None = None
    start_at: float | None = None
    expires_at: float | None = None
    claimed_at: float | None = None
    until: float | None = None
    source: str | None = None
    type: str | None = None
    event_id: str | None = None
    event_number: int | None = None
    tags: tuple[str, ...] = ()
    key: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    depth: int = 0
    replayof: str | None = None
    fork_at: str | None = None
    starts: int = 0
    reopened: int = 0
    worker: str | None = None
    waits: tuple[dict[str, Any], ...] = ()
    reason: str = ""
    error: tuple[str, str] | None = None
    fingerprint: str | None = None

    @property
    def seconds(self) -> float | None:
        """From the first claim to the end, waits included; None while it goes on or if it never began."""
        if self.ended_at is None or self.started_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The first bytes of a body. `size` is that of all; `data` is None where it isn't kept (any more).

    `blob` names the object that holds a large body while the run or the event is kept on the broker.
    """

    size: int = 0
    data: bytes | None = None
    blob: str | None = None

    @property
    def whole(self) -> bool:
        """Whether `data` is all of it."""
        return self.data is not None and len(self.data) == self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A bar of a run's waterfall.

    `kind` is `attempt`, `execution` (one claim of an attempt), `step`, `wait`, `child` or `news`; `depth`
    is how far it is indented. `status` of an execution: `running`, `suspended`, `failed`, `released`,
    `lost`, or the run's outcome; of a step its outcome (`done`, `failed`, `timed_out`, `again`); of a wait
    `waiting`, `decided` or `elapsed`; of a child the run's status; of news `ok` or `not ok`.
    A step's `started_at` is where the part before it in its branch ended: the journal keeps ends only.
    """

    kind: str
    name: str
    started_at: float
    ended_at: float | None
    status: str
    depth: int = 0
    attempt: int = 0
    run_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """What one record of a journal says, as far as it has a row: kinds are those of the records.

    `data` holds the rest: results and items shortened, faults, what a wait needs.
    """

    number: int
    part: int
    kind: str
    key: str
    at: float
    until: float | None = None
    outcome: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """Everything about a run: its row, bodies, waterfall, and its family by one step.

    `more` says that the timeline or the children were too many to be read whole.
    """

    run: RunRow
    payload: Body
    result: Body
    traceback: str
    spans: tuple[Span, ...]
    timeline: tuple[TimelineRow, ...]
    children: tuple[RunRow, ...]
    replays: tuple[RunRow, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """What the router decided about an event: `filtered`, `quarantined` or `unrouted`, for a task."""

    event_number: int
    verdict: str
    task: str
    at: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An accepted event, with what was decided about it and the runs that it started."""

    number: int
    id: str
    key: str
    source: str
    type: str
    at: float
    size: int
    subject: str | None = None
    time: str | None = None
    replayof: str | None = None
    content_type: str | None = None
    verdicts: tuple[VerdictRow, ...] = ()
    runs: tuple[RunRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """An event with its attributes, headers and body, and other deliveries of the same id."""

    event: EventRow
    facts: dict[str, Any]
    body: Body
    deliveries: tuple[DeliveryRow, ...]
    quarantine: tuple[QuarantineRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One request, as the log of requests has it; `id` is its id there.

    `verdict` is one of `kernel.services.deliveries.VERDICTS`, `reason` the check that refused it. `events`
    are those that it brought: `id`, `type`, `status`, `seq`, and `reason` of a quarantined one. `data` holds
    the rest: `us`, `size`, `tenant`, `detail`, `method`, `path`, `headers`, and how many were `missed`.
    """

    number: int
    id: str
    verdict: str
    at: float
    source: str
    status: int | None = None
    reason: str | None = None
    client: str | None = None
    events: tuple[dict[str, Any], ...] = ()
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRow:
    """What was put into quarantine; `released` says that its event or its run exists by now.

    Whether it still stands there only the broker knows: `kernel.services.quarantine`.
    """

    number: int
    key: str
    kind: str
    source: str
    type: str
    event_id: str
    at: float
    reason: dict[str, Any]
    task: str | None = None
    body: Body = Body()
    released: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRow:
    """A dead letter; `status` is that of its run now, None where it never became one."""

    number: int
    id: str
    task: str
    outcome: str
    at: float
    attempts: int
    error: tuple[str, str] | None
    data: dict[str, Any]
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Failures with the same fingerprint; `last_run` is the id of the newest run that had it.

    `state` is `open`, `resolved`, `ignored`, or `reopened`: it came again after it had been resolved.
    """

    fingerprint: str
    task: str
    type: str
    message: str
    traceback: str
    first_at: float
    last_at: float
    last_run: str
    count: int
    state: str = "open"
    marked_at: float | None = None
    marked_by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A count of something in the `span` seconds from `at` on; `name` is a task or a source."""

    at: int
    name: str
    what: str
    count: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """From a request to its last grandchild: `runs` hold all of them, parents before children."""

    deliveries: tuple[DeliveryRow, ...]
    events: tuple[EventRow, ...]
    runs: tuple[RunRow, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a stream has been taken in."""

    stream: str
    seq: int
    at: float
