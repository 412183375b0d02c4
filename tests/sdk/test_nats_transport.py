"""The transport of workers, over runs that a test makes up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from tidemill import nats_transport
from tidemill.kernel.errors import BrokerUnavailableError, ConflictError, NotFoundError
from tidemill.kernel.protocol.records import Claim, Created, End, Fault, Record
from tidemill.kernel.protocol.state import State
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.trigger import TriggerRequest
from tidemill.nats_transport import NatsTransport

CREATED = Created(rid="c", task="t")
CLAIM = Claim(rid="k", q=1, n=1, worker="w")
AWAY = BrokerUnavailableError("away")


class FakeRuns:
    """Shows a run in one state after the other, the last one for ever; errors are raised."""

    def __init__(self, *looks: RunView | Exception, answer: str = "done") -> None:
        self._looks = list(looks)
        self._answer = answer
        self.calls: list[Any] = []

    async def trigger(self, request: TriggerRequest) -> RunView:
        self.calls.append(request)
        return RunView("run_new", State())

    async def get(self, run: str) -> RunView:
        self.calls.append(run)
        look = self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]
        if isinstance(look, Exception):
            raise look
        return look

    @asynccontextmanager
    async def watching(self, _run: str) -> AsyncIterator[asyncio.Event]:
        yield asyncio.Event()

    async def signal(self, run: str, kind: str, reason: str) -> str:
        self.calls.append((run, kind, reason))
        return self._answer


def _view(records: Sequence[Record | None], result: Any = None) -> RunView:
    state = State()
    for seq, record in enumerate(records, 1):
        state.apply(seq, record)
    return RunView("run_x", state, (), result)


RUNNING = _view([CREATED, CLAIM])
DONE = _view([CREATED, CLAIM, End(rid="e", outcome="completed")], {"ok": True})


def _transport(runs: FakeRuns) -> NatsTransport:
    return NatsTransport(cast("Runs", runs))


async def test_a_trigger_gives_the_run_it_created() -> None:
    runs, request = FakeRuns(DONE), TriggerRequest("t", b"{}")
    transport = _transport(runs)
    await transport.open()
    assert await transport.trigger(request) == "run_new"
    await transport.close()
    assert runs.calls == [request]


async def test_an_outcome_is_waited_for() -> None:
    runs = FakeRuns(RUNNING, RUNNING, DONE)
    outcome = await _transport(runs).outcome("run_x", 10)
    assert (outcome.state, outcome.result, outcome.error) == ("completed", b'{"ok":true}', "")
    assert runs.calls == ["run_x"] * 3


async def test_errors_and_reasons_are_told() -> None:
    failed = _view([CREATED, CLAIM, End(rid="e", outcome="failed", fault=Fault("ValueError", "no ref"))])
    outcome = await _transport(FakeRuns(failed)).outcome("run_x", None)
    assert (outcome.state, outcome.error, outcome.error_type) == ("failed", "no ref", "ValueError")
    cancelled = _view([CREATED, End(rid="e", outcome="cancelled", reason="not needed")])
    outcome = await _transport(FakeRuns(cancelled)).outcome("run_x", None)
    assert (outcome.state, outcome.error) == ("cancelled", "not needed")


@pytest.mark.parametrize("look", [RUNNING, AWAY])
async def test_a_timeout_is_kept(look: RunView | Exception) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError, match="run_x hasn't ended in time"):
            await _transport(FakeRuns(look)).outcome("run_x", 0.05)


async def test_a_broker_that_is_away_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = await _transport(FakeRuns(RUNNING, AWAY, AWAY, DONE)).outcome("run_x", None)
    assert outcome.state == "completed"
    monkeypatch.setattr(nats_transport, "_AWAY_SECONDS", 0.03)
    with pytest.raises(BrokerUnavailableError):
        await _transport(FakeRuns(RUNNING, AWAY)).outcome("run_x", None)


async def test_a_run_that_is_gone_is_said_to_be() -> None:
    with pytest.raises(NotFoundError, match="its result is gone"):
        await _transport(FakeRuns(_view([None]))).outcome("run_x", None)
    with pytest.raises(NotFoundError, match="no such run"):
        await _transport(FakeRuns(NotFoundError("no such run"))).outcome("run_x", None)


@pytest.mark.parametrize("answer", ["done", "queued"])
async def test_cancelling_sends_a_signal(answer: str) -> None:
    runs = FakeRuns(DONE, answer=answer)
    await _transport(runs).cancel("run_x", "enough")
    assert runs.calls == [("run_x", "cancel", "enough")]


@pytest.mark.parametrize("answer", ["gone", "refused"])
async def test_what_has_ended_can_not_be_cancelled(answer: str) -> None:
    with pytest.raises(ConflictError, match="has ended"):
        await _transport(FakeRuns(DONE, answer=answer)).cancel("run_x", "enough")
