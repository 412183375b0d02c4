"""Looking: reads what has come, decides what that means, and writes it down before anybody is told."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumers.alerts.budget import drop_channels
from consumers.alerts.decide import Reading, Timing, drop_rules, evaluate, tell
from consumers.alerts.reading import Tally, counted, shares, silences_of
from consumers.alerts.rules import rules_of
from consumers.alerts.streams import Streams
from consumers.alerts.watch import Approvals, Ends, queue_ages
from tidemill.durable.scribe import Redactor
from tidemill.kernel.services.alerts import SILENCES, silences_in
from tidemill.kernel.services.pulse import Pulses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumers.alerts.state import AlertState
    from consumers.alerts.store import Store
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings

SLOW: Final = 3
"""Queues and approvals are looked at every so many intervals."""
_STREAMS: Final = {
    "run_failed": "DEAD",
    "failure_rate": "DEAD",
    "quarantine": "QUARANTINE",
    "drift": "RECORDS",
    "source_silent": "DELIVERIES",
}
_TOKEN_BYTES: Final = 13


class Evaluator:
    """Looks once, whenever it is asked to.

    Args:
        broker: what is looked at.
        settings: all of them.
        state: what is known.
        store: writes it.
        now: says what time it is.
    """

    def __init__(
        self, broker: Broker, settings: Settings, state: AlertState, store: Store, now: Callable[[], float]
    ) -> None:
        alerts = settings.alerts
        self.rules = rules_of(alerts)
        self._broker = broker
        self._state = state
        self._store = store
        self._now = now
        self._sources = tuple(settings.sources)
        self._timing = Timing(alerts.group_wait, alerts.group_interval, alerts.per_hour)
        redact = Redactor(settings.run_logs.redact) if alerts.messages else None
        self._streams = Streams(broker.bus, state, redact)
        self._wanted = {_STREAMS[rule.kind] for rule in self.rules if rule.kind in _STREAMS}
        self._tallies = {stream: Tally() for stream in self._wanted}
        self._failed: Counter[str] = Counter()
        self._ends = Ends(broker.bus)
        self._approvals = Approvals(broker)
        self._pulses = Pulses(broker, fresh=0)
        self._interval = alerts.interval
        self._slow_at = float("-inf")
        self.standing: frozenset[str] = frozenset()

    async def begin(self, setup: Mapping[str, object]) -> None:
        """Find the places in the streams, and forget what the settings know no more.

        Raises:
            BrokerError: the broker is away.
        """
        if any(rule.kind == "failure_rate" for rule in self.rules):
            await self._ends.listen()
        await self._streams.begin(self._wanted)
        drop_rules(self._state, self.rules)
        drop_channels(self._state, {channel for rule in self.rules for channel in rule.channels})
        self._state.heard = {name: at for name, at in self._state.heard.items() if name in self._sources}
        self._state.setup = dict(setup)

    async def stop(self) -> None:
        """Hear of ends no more."""
        await self._ends.stop()

    async def look(self) -> bool:
        """Look once; say whether there is more to be read at once.

        Raises:
            BrokerError: the broker is away; what was read isn't lost.
            ConflictError: another process evaluates now.
        """
        more = await self._read()
        measured = await self._measure()
        silences = silences_in(await self._broker.alerts.values(SILENCES))
        self._decide(measured)
        tell(
            self._state,
            self.rules,
            lambda rule, key: any(silence.covers(rule, key) for silence in silences),
            self._now(),
            self._timing,
            _new_id,
        )
        await self.write()
        return more

    async def write(self, *, must: bool = False) -> None:
        """Write what is known; from then on its messages may be sent.

        Raises:
            BrokerError: it is unknown whether it was written.
            ConflictError: another process evaluates now.
        """
        if await self._store.write(self._state, self._now(), must=must):
            self.standing = frozenset(message.id for message in self._state.outbox)

    async def _read(self) -> bool:
        more = False
        for stream in sorted(self._wanted):
            caught_up = self._streams.caught_up(stream)
            tally = self._tallies[stream]
            before = Counter(tally.numbers)
            more |= await self._streams.read(stream, tally, self._now())
            if stream == "DEAD" and caught_up:
                # Ends that nobody heard, since nobody evaluated, mustn't make the share of failures larger.
                self._failed.update(Counter(tally.numbers) - before)
        return more

    async def _measure(self) -> dict[str, dict[str, Reading]]:
        """Return the readings of what is looked at now and then, by rule; nothing in between."""
        now, found = self._now(), {}
        if now < self._slow_at:
            return {}
        pulse = None
        if any(rule.kind == "approval_expiring" for rule in self.rules):
            await self._approvals.look()
        for rule in self.rules:
            if rule.kind == "queue_age":
                pulse = pulse or await self._pulses.take()
                found[rule.name] = queue_ages(rule, pulse)
            elif rule.kind == "approval_expiring":
                found[rule.name] = await self._approvals.expiring(rule)
        self._slow_at = now + SLOW * self._interval
        return found

    def _decide(self, measured: Mapping[str, Mapping[str, Reading]]) -> None:
        """Take everything in that was read, in one step: it counts once, wherever this process ends."""
        now, state = self._now(), self._state
        tallies, self._tallies = self._tallies, {stream: Tally() for stream in self._wanted}
        failed, self._failed = self._failed, Counter()
        ended = self._ends.take()
        for rule in self.rules:
            readings = measured.get(rule.name)
            if rule.kind == "failure_rate":
                readings = shares(state, rule, ended, failed, now)
            elif rule.kind == "source_silent":
                readings = silences_of(state, rule, self._sources, now)
            elif rule.kind in _STREAMS:
                readings = counted(state, rule, tallies[_STREAMS[rule.kind]], now)
            if readings is not None:
                evaluate(state, rule, readings, now)


def _new_id() -> str:
    return f"alr_{secrets.token_hex(_TOKEN_BYTES)}"
