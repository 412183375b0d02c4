"""What is watched besides the streams: ends of runs, queues, and approvals that nobody answers."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from consumers.alerts.decide import Reading
from consumers.alerts.state import Example
from consumers.alerts.wording import name
from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.token_view import KINDS
from tidemill.kernel.services.tokens import Tokens

if TYPE_CHECKING:
    from consumers.alerts.rules import Rule
    from tidemill.kernel.jetstream.bus import Bus, Message, Subscription
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.pulse import Pulse

MOST_ASKED: Final = 50
"""Tokens that one look asks their runs about."""


class Ends:
    """Counts the runs that end, from the notes to the closer; what it doesn't hear isn't counted."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._numbers: Counter[str] = Counter()
        self._notes: Subscription | None = None

    async def listen(self) -> None:
        """Begin to count.

        Raises:
            BrokerError: the broker is away.
        """
        if self._notes is None:
            self._notes = await self._bus.subscribe(self._bus.names.subject("ended"), self._heard)

    async def stop(self) -> None:
        """Count no more."""
        if self._notes is not None:
            await self._notes.stop()
            self._notes = None

    def take(self) -> Counter[str]:
        """Return how many of each task have ended since the last time."""
        numbers, self._numbers = self._numbers, Counter()
        return numbers

    def _heard(self, note: Message) -> None:
        try:
            self._numbers.update(str(mark["task"]) for mark in orjson.loads(note.body))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return  # a hint of a newer version: the share is of what is understood


def queue_ages(rule: Rule, pulse: Pulse) -> dict[str, Reading]:
    """Return for how long the oldest waiting run of each task has waited."""
    readings = {}
    for queue in pulse.queues:
        if queue.since is not None and rule.wants_task(queue.task):
            age = max(0.0, pulse.at - queue.since)
            path = f"/tasks/{quote(queue.task, safe='')}"
            readings[queue.task] = Reading(age >= rule.threshold, age, path=path)
    return readings


class Approvals:
    """Knows what people are asked for, from the directory of waits."""

    def __init__(self, broker: Broker) -> None:
        self._waiting = broker.waiting
        self._tokens = Tokens(broker)
        self._next = 0
        self._asked: dict[str, dict[str, Any]] = {}

    async def look(self) -> None:
        """Hear of new ones.

        Raises:
            BrokerError: the broker is away.
        """
        found, self._next = await self._waiting.changes(self._next)
        for key, facts, _ in found:
            if facts is not None and facts.get("kind") in KINDS and facts.get("until") is not None:
                self._asked[key] = facts
            else:
                self._asked.pop(key, None)
        now = time.time()
        self._asked = {key: facts for key, facts in self._asked.items() if float(facts["until"]) > now}

    async def expiring(self, rule: Rule) -> dict[str, Reading]:
        """Return those that are about to expire, and that nobody has answered.

        What gives less than twice the rule's time counts from half of its own on.

        Raises:
            BrokerError: the broker is away.
        """
        now, readings = time.time(), {}
        near = sorted(
            (facts for facts in self._asked.values() if _is_near(facts, rule, now)),
            key=lambda facts: float(facts["until"]),
        )
        for number, facts in enumerate(near):
            token = f"{facts['run']}.{facts['name']}"
            if number < MOST_ASKED and not await self._is_open(token):
                continue
            until = float(facts["until"])
            text = f"{name(str(facts.get('task')))} asks for {name(str(facts['name']))}"
            example = Example(token, f"{text} until {rfc3339_at(until)[:16]}Z", "")
            path = f"/approvals/{quote(token, safe='')}"
            readings[token] = Reading(True, until - now, examples=(example,), path=path)  # noqa: FBT003 - as its fields stand
        return readings

    async def _is_open(self, token: str) -> bool:
        try:
            return (await self._tokens.find(token)).status == "open"
        except NotFoundError:
            return False


def _is_near(facts: dict[str, Any], rule: Rule, now: float) -> bool:
    until = float(facts["until"])
    given = until - float(facts.get("asked_at") or 0.0)
    return rule.wants_task(str(facts.get("task"))) and until - now <= min(rule.threshold, given / 2)
