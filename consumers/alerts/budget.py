"""How many messages a channel gets, and what becomes of them there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from consumers.alerts.state import Attempt, Channel, Sent
from tidemill.kernel import backoff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from consumers.alerts.state import AlertState, Message

HOUR: Final = 3600.0
MOST_QUEUED: Final = 20
"""Messages that wait for one channel."""
MOST_WAITING: Final = 60
"""Messages that wait at all."""
MOST_SENT: Final = 60
"""Outcomes that are remembered."""
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 900.0


@dataclass(frozen=True, slots=True)
class Taken:
    """The channel has the message."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It hasn't. `again` says whether trying again may help, and `after` how many seconds it asks for."""

    problem: str
    again: bool = True
    after: float = 0.0


Outcome = Taken | Refused


def give(  # noqa: PLR0913 - whom what, when, and how much at most
    state: AlertState,
    message: Message,
    channels: Iterable[str],
    now: float,
    per_hour: int,
    *,
    only_if_allowed: bool = False,
) -> None:
    """Put a message into the outbox for those of its channels that may have one; the others miss it."""
    for name in channels:
        channel = state.channels.setdefault(name, Channel())
        if _may_have(state, name, now, per_hour):
            channel.times.append(now)
            message.to[name] = Attempt(since=now, held=channel.held, held_since=channel.held_since, due=now)
            channel.held, channel.held_since = 0, None
        elif not only_if_allowed:
            _miss(channel, 1, now)
            channel.held_back += 1
            _note(state, message, name, "held_back", now)
    if message.to:
        state.outbox.append(message)


def settle(  # noqa: PLR0913 - what became of what, where and when
    state: AlertState, message: Message, name: str, outcome: Outcome, now: float, *, retry_for: float
) -> None:
    """Note what a channel has done with a message."""
    channel, attempt = state.channels.setdefault(name, Channel()), message.to.get(name)
    if attempt is None:
        return
    attempt.tries += 1
    if isinstance(outcome, Taken):
        channel.sent, channel.failures, channel.problem = channel.sent + 1, 0, ""
        _note(state, message, name, "sent", now)
        _done(state, message, name)
        return
    channel.failures, channel.problem = channel.failures + 1, outcome.problem
    attempt.problem = outcome.problem
    if outcome.again and now - attempt.since < retry_for:
        pause = backoff.delay(
            attempt.tries, factor=2, min_delay=_FIRST_PAUSE, max_delay=_LONGEST_PAUSE, jitter=None
        )
        attempt.due = now + max(pause, outcome.after)
        return
    channel.failed += 1
    _miss(channel, attempt.held + 1, attempt.held_since or attempt.since)
    _note(state, message, name, "failed", now)
    _done(state, message, name)


def drop_channels(state: AlertState, names: Iterable[str]) -> None:
    """Forget what belongs to channels that are no more."""
    kept = set(names)
    state.channels = {name: one for name, one in state.channels.items() if name in kept}
    for message in state.outbox:
        message.to = {name: one for name, one in message.to.items() if name in kept}
    state.outbox = [message for message in state.outbox if message.to]


def _may_have(state: AlertState, name: str, now: float, per_hour: int) -> bool:
    channel = state.channels[name]
    channel.times = [at for at in channel.times if at > now - HOUR]
    queued = sum(name in message.to for message in state.outbox)
    return len(channel.times) < per_hour and queued < MOST_QUEUED and len(state.outbox) < MOST_WAITING


def _miss(channel: Channel, number: int, since: float) -> None:
    channel.held += number
    channel.held_since = min(since, channel.held_since or since)


def _done(state: AlertState, message: Message, name: str) -> None:
    del message.to[name]
    if not message.to:
        state.outbox = [one for one in state.outbox if one.id != message.id]


def _note(state: AlertState, message: Message, name: str, outcome: str, now: float) -> None:
    attempt = message.to.get(name, Attempt())
    state.sent.append(
        Sent(
            id=message.id,
            at=now,
            channel=name,
            outcome=outcome,
            rule=message.rule,
            status=message.status,
            title=message.title,
            tries=attempt.tries,
            problem=attempt.problem if outcome != "sent" else "",
        )
    )
    del state.sent[:-MOST_SENT]
