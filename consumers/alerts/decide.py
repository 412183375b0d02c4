"""Which alerts there are, and which messages are due: decided from readings and the time, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from consumers.alerts.budget import HOUR, give
from consumers.alerts.state import MOST_EXAMPLES, Alert, Example, Message, RuleState
from consumers.alerts.wording import title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from consumers.alerts.rules import Rule
    from consumers.alerts.state import AlertState, Channel

MOST_ALERTS: Final = 300
"""So many alerts have a place of their own; what comes beside them is told together."""
MOST_LISTED: Final = 10
"""Alerts that one message names."""
OTHERS: Final = "(others)"
TENFOLD: Final = 10
"""An alert is told again as soon as so many times as much has happened as was told."""


class Reading(NamedTuple):
    """What was measured of one thing that a rule is for.

    Attributes:
        breached: whether it is as the rule forbids it.
        value: the measure.
        fresh: how many things have happened since the last reading, for the kinds that count.
        examples: some of them.
        path: the page that shows it.
    """

    breached: bool
    value: float
    fresh: int = 0
    examples: tuple[Example, ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """When messages are made; durations in seconds."""

    group_wait: float
    group_interval: float
    per_hour: int


def evaluate(state: AlertState, rule: Rule, readings: Mapping[str, Reading], now: float) -> None:
    """Take a rule's readings in; what has none isn't breached."""
    known = {alert.key: alert for alert in state.alerts if alert.rule == rule.name}
    breached = {key: reading for key, reading in readings.items() if reading.breached}
    breached = _within_room(breached, known, MOST_ALERTS - len(state.alerts))
    for key, reading in breached.items():
        if key not in known:
            alert = Alert(rule=rule.name, kind=rule.kind, key=key, since=now)
            alert.total = 0 if not reading.fresh else max(0, int(reading.value) - reading.fresh)
            state.alerts.append(alert)
        _goes_on(known.get(key) or state.alerts[-1], reading, rule, now)
    for key, alert in known.items():
        if key not in breached and alert.over is None:
            _is_clear(state, alert, rule, now)


def drop_rules(state: AlertState, rules: Iterable[Rule]) -> None:
    """Forget what belongs to rules that are no more."""
    names = {rule.name for rule in rules}
    state.alerts = [alert for alert in state.alerts if alert.rule in names]
    state.counts = {name: keys for name, keys in state.counts.items() if name in names}
    state.rules = {name: one for name, one in state.rules.items() if name in names}


def tell(  # noqa: PLR0913, PLR0917 - all that it depends on
    state: AlertState,
    rules: Sequence[Rule],
    silenced: Callable[[str, str], bool],
    now: float,
    timing: Timing,
    new_id: Callable[[], str],
) -> None:
    """Put the messages that are due into the outbox, at most one of each rule, and one for what was held."""
    for rule in rules:
        message = _message(state, rule, silenced, now, timing)
        if message is not None:
            message.id = new_id()
            give(state, message, rule.channels, now, timing.per_hour)
    for name, channel in state.channels.items():
        if channel.held and now - _last_of(channel) >= (HOUR if channel.failures else timing.group_interval):
            message = _digest(state, rules, silenced, name, now)
            message.id = new_id()
            give(state, message, (name,), now, timing.per_hour, only_if_allowed=True)


def _last_of(channel: Channel) -> float:
    """Return when a channel was last given something, or denied it."""
    return max(channel.held_since or 0.0, *channel.times[-1:], 0.0)


def _within_room(
    breached: Mapping[str, Reading], known: Mapping[str, Alert], room: int
) -> dict[str, Reading]:
    """Return readings by the alerts that they go to: what has no room of its own goes to one for all."""
    found: dict[str, Reading] = {}
    others: list[Reading] = []
    for key, reading in breached.items():
        if key in known:
            found[key] = reading
        elif room > 0:
            found[key] = reading
            room -= 1
        else:
            others.append(reading)
    if others:
        examples = tuple(example for reading in others for example in reading.examples)[:MOST_EXAMPLES]
        value, fresh = max(reading.value for reading in others), sum(reading.fresh for reading in others)
        found[OTHERS] = Reading(True, value, fresh, examples, "/alerts")  # noqa: FBT003 - as its fields stand
    return found


def _goes_on(alert: Alert, reading: Reading, rule: Rule, now: float) -> None:
    alert.clear_since, alert.over, alert.value, alert.path = None, None, reading.value, reading.path
    alert.total += reading.fresh
    alert.examples = [*reading.examples, *alert.examples][:MOST_EXAMPLES]
    if alert.began is None and now - alert.since >= rule.lasting:
        alert.began = now


def _is_clear(state: AlertState, alert: Alert, rule: Rule, now: float) -> None:
    if alert.began is None:
        state.alerts.remove(alert)
        return
    if alert.clear_since is None:
        alert.clear_since = now
    if now - alert.clear_since >= rule.lasting:
        alert.over = now


def _message(
    state: AlertState, rule: Rule, silenced: Callable[[str, str], bool], now: float, timing: Timing
) -> Message | None:
    """Return the message of a rule that is due, without an id; note that it is told."""
    alerts = [alert for alert in state.alerts if alert.rule == rule.name and alert.began is not None]
    quiet = [alert for alert in alerts if silenced(rule.name, alert.key)]
    loud = [alert for alert in alerts if alert not in quiet]
    untold_end = [alert for alert in loud if alert.over is not None and _tells_end(alert, rule)]
    _forget(state, [alert for alert in alerts if alert.over is not None and alert not in untold_end])
    news = [alert for alert in loud if _is_news(alert, rule, now)]
    lasting = [alert for alert in loud if alert.over is None and alert not in news]
    place = state.rules.setdefault(rule.name, RuleState())
    if not news and not untold_end:
        place.news_since = None
        return None
    if place.news_since is None:
        place.news_since = now
    if now < max(place.news_since + timing.group_wait, _next(place, timing)):
        return None
    place.news_since, place.told_at = None, now
    told = [*news, *(alert for alert in untold_end if alert not in news), *lasting]
    message = _made(told, rule, now)
    for alert in told:
        alert.told_at, alert.told_total = now, alert.total
    _forget(state, untold_end)
    return message


def _tells_end(alert: Alert, rule: Rule) -> bool:
    """Say whether an alert that is over still has to be told: its end, or what nobody knows of it."""
    return rule.resolved or alert.told_at is None or _has_risen(alert)


def _is_news(alert: Alert, rule: Rule, now: float) -> bool:
    if alert.over is not None:
        return False
    if alert.told_at is None or now - alert.told_at >= rule.repeat:
        return True
    return _has_risen(alert)


def _has_risen(alert: Alert) -> bool:
    return alert.total >= TENFOLD * max(1, alert.told_total)


def _next(place: RuleState, timing: Timing) -> float:
    return place.told_at + timing.group_interval if place.told_at is not None else float("-inf")


def _made(told: Sequence[Alert], rule: Rule, now: float) -> Message:
    message = Message(
        id="",
        at=now,
        status="firing" if any(alert.over is None for alert in told) else "resolved",
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        window=rule.window,
        alerts=[_copy(alert) for alert in told[:MOST_LISTED]],
        more=max(0, len(told) - MOST_LISTED),
    )
    message.title = title_of(message)
    return message


def _digest(
    state: AlertState,
    rules: Sequence[Rule],
    silenced: Callable[[str, str], bool],
    channel: str,
    now: float,
) -> Message:
    """Return a message that says what was held back, with what there is at present."""
    told = {rule.name for rule in rules if channel in rule.channels}
    alerts = [
        alert
        for alert in state.alerts
        if alert.rule in told and alert.began is not None and not silenced(alert.rule, alert.key)
    ]
    listed = [_copy(alert) for alert in alerts[:MOST_LISTED]]
    more = max(0, len(alerts) - MOST_LISTED)
    message = Message(id="", at=now, status="held_back", severity="warning", alerts=listed, more=more)
    message.title = title_of(message)
    return message


def _copy(alert: Alert) -> Alert:
    return replace(alert, examples=[replace(example) for example in alert.examples])


def _forget(state: AlertState, alerts: Sequence[Alert]) -> None:
    gone = {id(alert) for alert in alerts}
    state.alerts = [alert for alert in state.alerts if id(alert) not in gone]
