"""The role `alerts`: one process evaluates and tells, any number of others stand by."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

import orjson

from consumers.alerts.budget import Taken
from consumers.alerts.channels.posting import Way
from consumers.alerts.evaluator import Evaluator
from consumers.alerts.sender import Post, Sender
from consumers.alerts.state import Attempt, Message
from consumers.alerts.store import STALE, Store
from consumers.alerts.wording import title_of
from tidemill.kernel import backoff
from tidemill.kernel.errors import BrokerError, ConflictError, TidemillError
from tidemill.kernel.services.alerts import ANSWERED, ASKED, SILENCES

if TYPE_CHECKING:
    from consumers.alerts.state import AlertState
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings

MOST_TESTS: Final = 4
"""Tests of channels at the same time."""
_KEEP_SECONDS: Final = 120.0
_LAST_SECONDS: Final = 3.0
_log = logging.getLogger(__name__)


class Alerting:
    """Watches what the settings say. What is wrong with it, or with a channel, stops nothing else."""

    name: ClassVar[str] = "alerts"

    def __init__(self, broker: Broker, settings: Settings, *, stale: float = STALE) -> None:
        self._broker = broker
        self._settings = settings
        self._store = Store(broker.alerts, stale=stale)
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._failures = 0
        self._tests: dict[str, asyncio.Task[None]] = {}
        way = Way(settings.inputs.environ, settings.alerts.timeout, settings.way_out())
        base = settings.control.public_url or ""
        self._post = Post(settings.alerts, way, base, settings.nats.namespace)
        self._wall, self._monotonic = time.time(), time.monotonic()

    async def run(self) -> None:
        """Work until `stop`."""
        if not self._settings.alerts.enabled:
            await self._stopping.wait()
            return
        while not self._stopping.is_set():
            try:
                await self._take_turn()
            except (BrokerError, ConflictError) as error:
                await self._back_off(error.sentence)
            except Exception as error:  # noqa: BLE001 - a defect here must not take the engine along
                _log.error("the alerts failed", exc_info=error)
                await self._back_off(repr(error))

    async def stop(self) -> None:
        """Tell what is on its way, and no more."""
        self._stopping.set()
        self._wake.set()

    def now(self) -> float:
        """Return the time: the wall's when this process took over, and from then on what has passed."""
        return self._wall + time.monotonic() - self._monotonic

    async def _take_turn(self) -> None:
        state = await self._store.take(self._stopping)
        if state is None:
            return
        self._wall, self._monotonic = max(time.time(), state.clock), time.monotonic()
        evaluator = Evaluator(self._broker, self._settings, state, self._store, self.now)
        senders = self._senders(state, evaluator)
        hints = await self._broker.alerts.watch(self._hinted)
        sending = [asyncio.create_task(one.run(), name=f"alerts to {name}") for name, one in senders.items()]
        try:
            await evaluator.begin(self._setup(evaluator))
            _log.info("evaluating %d rules of alerts", len(evaluator.rules))
            await self._evaluate(evaluator, senders)
            await self._finish(senders, sending)
            state.released = True
            await evaluator.write(must=True)
        finally:
            for task in (*sending, *self._tests.values()):
                task.cancel()
            await asyncio.gather(*sending, *self._tests.values(), return_exceptions=True)
            await evaluator.stop()
            await hints.stop()

    async def _evaluate(self, evaluator: Evaluator, senders: dict[str, Sender]) -> None:
        """Look again and again; a broker that is away is waited for."""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                await self._hear_tests()
                more = await evaluator.look()
            except BrokerError as error:
                await self._back_off(error.sentence)
                continue
            self._failures = 0
            for sender in senders.values():
                sender.written.set()
            if not more:
                await self._wait(self._settings.alerts.interval)

    async def _finish(self, senders: dict[str, Sender], sending: list[asyncio.Task[None]]) -> None:
        for sender in senders.values():
            sender.stop()
        if sending:
            await asyncio.wait(sending, timeout=_LAST_SECONDS)

    def _senders(self, state: AlertState, evaluator: Evaluator) -> dict[str, Sender]:
        def may_send(message: Message) -> bool:
            return message.id in evaluator.standing and self._store.fresh

        channels = self._settings.alerts.channels
        return {
            name: Sender(name, state, self._post, self.now, may_send, self._wake.set) for name in channels
        }

    def _setup(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return what people are shown of the settings; nothing of it is secret."""
        alerts = self._settings.alerts
        kinds = {"slack": [*alerts.slack], "email": [*alerts.email], "webhook": [*alerts.webhook]}
        channels = [{"name": name, "kind": kind} for kind, found in kinds.items() for name in sorted(found)]
        return {
            "rules": [rule.facts() for rule in evaluator.rules],
            "channels": channels,
            "per_hour": alerts.per_hour,
            "links": bool(self._post.base),
        }

    def _hinted(self, key: str) -> None:
        if key.startswith((f"{ASKED}.", f"{SILENCES}.")):
            self._wake.set()

    async def _hear_tests(self) -> None:
        """Begin the tests that somebody asks for."""
        asked = await self._broker.alerts.values(ASKED)
        for key, value in asked.items():
            question = key.removeprefix(f"{ASKED}.")
            if question not in self._tests and len(self._tests) < MOST_TESTS:
                name = str(orjson.loads(value.value).get("channel"))
                task = asyncio.create_task(self._test(question, name), name=f"test of alerts to {name}")
                self._tests[question] = task
                task.add_done_callback(partial(self._tested, question))

    def _tested(self, question: str, _: asyncio.Task[None]) -> None:
        del self._tests[question]

    async def _test(self, question: str, name: str) -> None:
        """Send a test to a channel, and leave word of what came of it."""
        try:
            await self._broker.alerts.delete(f"{ASKED}.{question}", keep=_KEEP_SECONDS)
            answer = await self._tried(question, name)
            body = orjson.dumps({"channel": name, **answer})
            await self._broker.alerts.create(f"{ANSWERED}.{question}", body, keep=_KEEP_SECONDS)
        except TidemillError as error:
            _log.warning("the test of channel %s isn't answered: %s", name, error.sentence)

    async def _tried(self, question: str, name: str) -> dict[str, Any]:
        if name not in self._settings.alerts.channels:
            return {"taken": False, "problem": "there is no such channel"}
        message = Message(id=f"alr_test_{question}", at=time.time(), status="test")
        message.title = title_of(message)
        began = time.monotonic()
        outcome = await self._post.send(name, message, Attempt())
        taken = isinstance(outcome, Taken)
        problem = None if isinstance(outcome, Taken) else outcome.problem
        return {"taken": taken, "problem": problem, "seconds": round(time.monotonic() - began, 3)}

    async def _back_off(self, reason: str) -> None:
        self._failures += 1
        pause = backoff.delay(
            self._failures, factor=2, min_delay=0.5, max_delay=30.0, jitter=backoff.spread()
        )
        _log.warning("alerts aren't evaluated for %.1f s: %s", pause, reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
