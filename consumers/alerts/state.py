"""What is known of alerts, as it stands on the broker: one document, written by compare-and-set.

Times are seconds since the epoch by the clock of whoever evaluates, which never goes backwards; where another
process takes over whose clock is behind, all times move with it. Everything is bounded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

import orjson

from consumers.alerts.counter import Counter
from tidemill.kernel.errors import PayloadError

MOST_BYTES: Final = 900_000
"""What one message of the broker may hold, with room to spare."""
MOST_EXAMPLES: Final = 3
Status = Literal["firing", "resolved", "held_back", "test"]


@dataclass(slots=True)
class Example:
    """One of the things that an alert is about: its id, what is said of it, its page's path."""

    id: str
    text: str
    path: str


@dataclass(slots=True, kw_only=True)
class Alert:
    """Something that is as a rule forbids it.

    Attributes:
        rule: the rule's name.
        kind: the rule's kind.
        key: what it is about: a task, a source, a type, a token.
        since: since when it is so.
        began: since when it counts as an alert; None as long as that has not lasted long enough.
        clear_since: since when it isn't so any more; None while it is.
        over: when it was over.
        value: what was measured last.
        total: how many things have happened since it began, for the kinds that count.
        told_at: when it was told last; None if it wasn't.
        told_total: how many of them were told.
        path: the page that shows it.
        examples: some of what it is about.
    """

    rule: str
    kind: str
    key: str
    since: float
    began: float | None = None
    clear_since: float | None = None
    over: float | None = None
    value: float = 0.0
    total: int = 0
    told_at: float | None = None
    told_total: int = 0
    path: str = ""
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Attempt:
    """How far a message has come towards one channel.

    `since` is when it was given to the channel. `held` is how many messages before it haven't reached the
    channel, which it says besides; `due` is when it is tried next, `problem` why it wasn't taken last time.
    """

    since: float = 0.0
    held: int = 0
    held_since: float | None = None
    tries: int = 0
    due: float = 0.0
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class Message:
    """A message for some channels. Its content never changes: what is sent again is the same.

    Attributes:
        id: under which it is sent, however often.
        at: when it was made.
        status: what it tells.
        title: the same in one line.
        rule: the rule's name, empty where it is of none.
        kind: the rule's kind.
        severity: the rule's severity.
        window: the rule's, in seconds.
        alerts: the alerts that it names.
        more: how many there are besides.
        to: the channels that don't have it yet.
    """

    id: str
    at: float
    status: Status
    title: str = ""
    rule: str = ""
    kind: str = ""
    severity: str = "info"
    window: float = 0.0
    alerts: list[Alert] = field(default_factory=list)
    more: int = 0
    to: dict[str, Attempt] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Sent:
    """What has become of a message at one channel: `sent`, `failed`, or `held_back`."""

    id: str
    at: float
    channel: str
    outcome: str
    rule: str = ""
    status: str = ""
    title: str = ""
    tries: int = 0
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class Channel:
    """How a channel is doing.

    Attributes:
        times: when it was given messages within the last hour.
        held: messages that were held back or given up since the last one that says so.
        held_since: since when.
        failures: failed tries in a row.
        problem: why the last one failed.
        sent: messages that it took, ever.
        failed: messages that were given up, ever.
        held_back: messages that were held back, ever.
    """

    times: list[float] = field(default_factory=list)
    held: int = 0
    held_since: float | None = None
    failures: int = 0
    problem: str = ""
    sent: int = 0
    failed: int = 0
    held_back: int = 0


@dataclass(slots=True, kw_only=True)
class RuleState:
    """When a rule's next message is due, and when its last one was made."""

    news_since: float | None = None
    told_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Place:
    """Up to where a stream was read; `created` tells it from another one of its name."""

    created: str
    seq: int


@dataclass(slots=True, kw_only=True)
class AlertState:
    """All that is known.

    Attributes:
        holder: the process that evaluates.
        released: whether it has stopped in order.
        clock: the time until which everything is evaluated.
        setup: the rules and channels, as people are shown them.
        places: up to where each stream was read.
        counts: by rule, key and what is counted.
        heard: when each source was heard of last.
        alerts: those that are, and those whose end wasn't told yet.
        rules: by the rules' names.
        channels: by their names.
        outbox: what wasn't delivered yet.
        sent: what became of the last messages, the newest last.
    """

    holder: str = ""
    released: bool = False
    clock: float = 0.0
    setup: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    counts: dict[str, dict[str, dict[str, Counter]]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    rules: dict[str, RuleState] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    outbox: list[Message] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    def pack(self) -> bytes:
        """Return it as it is stored; where it is too large, examples go first, then the oldest messages."""
        packed = orjson.dumps(asdict(self))
        if len(packed) > MOST_BYTES:
            for alert in (*self.alerts, *(one for message in self.outbox for one in message.alerts)):
                alert.examples.clear()
            packed = orjson.dumps(asdict(self))
        while len(packed) > MOST_BYTES and self.outbox:
            del self.outbox[: max(1, len(self.outbox) // 4)]
            packed = orjson.dumps(asdict(self))
        return packed

    @classmethod
    def unpack(cls, stored: bytes) -> AlertState:
        """Read what `pack` wrote; what a newer version says besides is left out.

        Raises:
            PayloadError: the bytes aren't that.
        """
        try:
            facts = orjson.loads(stored)
            state: AlertState = _known(cls, facts)
            state.places = {name: _known(Place, one) for name, one in facts.get("places", {}).items()}
            state.counts = {rule: _counters(keys) for rule, keys in facts.get("counts", {}).items()}
            state.alerts = [_alert(one) for one in facts.get("alerts", ())]
            state.rules = {name: _known(RuleState, one) for name, one in facts.get("rules", {}).items()}
            state.channels = {name: _known(Channel, one) for name, one in facts.get("channels", {}).items()}
            state.outbox = [_message(one) for one in facts.get("outbox", ())]
            state.sent = [_known(Sent, one) for one in facts.get("sent", ())]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PayloadError(f"the state of alerts can't be read: {error}") from error
        return state

    def shift(self, seconds: float) -> None:
        """Move all times: the clock that they are read by from now on is another one."""
        self.clock += seconds
        for keys in self.counts.values():
            for counters in keys.values():
                for counter in counters.values():
                    counter.shift(seconds)
        self.heard = {source: at + seconds for source, at in self.heard.items()}
        attempts = (attempt for one in self.outbox for attempt in one.to.values())
        moved: list[Any] = [*self.alerts, *self.rules.values(), *self.channels.values(), *attempts]
        for thing in moved:
            for name in _TIMES & {slot.name for slot in fields(thing)}:
                at = getattr(thing, name)
                setattr(thing, name, at + seconds if at is not None else None)
        for channel in self.channels.values():
            channel.times = [at + seconds for at in channel.times]


_TIMES: Final = frozenset(
    {"since", "began", "clear_since", "over", "told_at", "held_since", "news_since", "due"}
)


def _known(cls: type[Any], facts: dict[str, Any]) -> Any:
    return cls(**{one.name: facts[one.name] for one in fields(cls) if one.name in facts})


def _counters(keys: dict[str, Any]) -> dict[str, dict[str, Counter]]:
    return {
        key: {what: Counter(one["slots"]) for what, one in counters.items()} for key, counters in keys.items()
    }


def _alert(facts: dict[str, Any]) -> Alert:
    alert: Alert = _known(Alert, facts)
    alert.examples = [_known(Example, one) for one in facts.get("examples", ())]
    return alert


def _message(facts: dict[str, Any]) -> Message:
    message: Message = _known(Message, facts)
    message.alerts = [_alert(one) for one in facts.get("alerts", ())]
    message.to = {name: _known(Attempt, one) for name, one in facts.get("to", {}).items()}
    return message
