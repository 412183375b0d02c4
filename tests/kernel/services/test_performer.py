"""The performer: every operation of the protocol, as it lands on a real broker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from tidemill.kernel.errors import BrokerUnavailableError, NotFoundError, WrongSequenceError
from tidemill.kernel.jetstream.blobs import Blobs
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.journal import Journal
from tidemill.kernel.jetstream.scan import oldest
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.protocol import operations as op
from tidemill.kernel.protocol.records import Created, End, Fault
from tidemill.kernel.protocol.state import State, fold
from tidemill.kernel.services.performer import Performer

pytestmark = pytest.mark.integration
RUN, TASK = "run_x", "team.deploy"
CREATED = Created(rid="c", task=TASK, raw=b'{"ref": 1}')
END = End(rid="e", outcome="failed", task=TASK, fault=Fault("E", "m"), lasting=True)


@pytest.fixture
async def performer(bus: Bus) -> Performer:
    await apply(bus, wanted(bus.names))
    return Performer(bus, Journal(bus), Blobs(bus), patient=False)


async def _stored(performer: Performer, stream: str) -> list[Any]:
    return await oldest(performer.bus, stream, performer.names.subject(">"), 100)


async def test_appends_are_compare_and_set_and_ends_are_noted(performer: Performer) -> None:
    perform = performer.perform
    first = await perform(op.Append(RUN, CREATED, 0))
    assert await perform(op.Append(RUN, CREATED, 0)) is None
    assert not performer.endings
    last = await perform(op.Append(RUN, END, first))
    assert await perform(op.Append(RUN, END, first)) is None
    [mark] = performer.endings
    assert (mark.run, mark.seq, mark.records, mark.lasting) == (RUN, last, (last,), True)
    for read in (op.Read(RUN), op.ReadLeader(RUN)):
        state = fold(await perform(read))
        assert (state.created, state.end, state.tail) == (CREATED, END, last)
    [header] = [each async for each in performer.journal.runs(headers_only=True)]
    assert orjson.loads(header.headers["Tidemill-End"]) == {"task": TASK, "lasting": True}


async def test_tickets_carry_their_run_once_and_may_cancel_its_timer(performer: Performer) -> None:
    perform, names = performer.perform, performer.names
    for _ in range(2):
        await perform(op.SendTicket(RUN, TASK, 1, "start", CREATED, once=True))
        await perform(op.SendTicket(RUN, TASK, 2, "signal"))
    tickets = await _stored(performer, "TICKETS")
    assert [ticket.subject for ticket in tickets] == [names.ticket(TASK, RUN, seq) for seq in (1, 2, 2)]
    assert tickets[0].body.startswith(b'{"kind":"created"')
    assert tickets[1].body == b'{"kind":"signal"}\n'

    assert not await perform(op.TimerPending(RUN, TASK, 3))
    await perform(op.Schedule(RUN, TASK, 3, time.time() + 60))
    await perform(op.Schedule(RUN, TASK, 4, time.time() + 60))
    await perform(op.SendTicket(RUN, TASK, 4, "signal", cancels_timer=True))
    assert not await perform(op.TimerPending(RUN, TASK, 4))
    assert await perform(op.TimerPending(RUN, TASK, 3))


async def test_a_timer_becomes_a_ticket_in_its_time_and_can_be_replaced_and_cancelled(
    performer: Performer,
) -> None:
    perform = performer.perform
    await perform(op.Schedule(RUN, TASK, 2, time.time() + 60))
    await perform(op.Schedule(RUN, TASK, 2, time.time() + 0.2, CREATED))
    await perform(op.Schedule("run_y", TASK, 1, time.time() + 60))
    await perform(op.CancelTimer("run_y", TASK, 1))
    await perform(op.CancelTimer("run_y", TASK, 1))
    async with asyncio.timeout(10):
        while not await perform(op.TicketOutstanding(RUN, TASK)):  # noqa: ASYNC110 - the broker's, not ours
            await asyncio.sleep(0.02)
    [ticket] = await _stored(performer, "TICKETS")
    assert ticket.subject == performer.names.ticket(TASK, RUN, 2)
    assert ticket.body.startswith(b'{"kind":"created"')
    assert not await perform(op.TicketOutstanding("run_y", TASK))
    assert not await perform(op.TicketOutstanding(RUN, "team"))


async def test_dead_letters_are_buried_once_and_exhumed_up_to_their_end(performer: Performer) -> None:
    perform = performer.perform

    def ended(seq: int) -> State:
        state = State()
        state.apply(1, CREATED)
        state.apply(seq, END)
        return state

    assert not await perform(op.DeadLettered(RUN, TASK))
    for seq in (2, 2, 5):
        await perform(op.Bury(RUN, seq, ended(seq)))
    assert len(await _stored(performer, "DEAD")) == 2
    await perform(op.Exhume(RUN, TASK, 2))
    await perform(op.Exhume(RUN, TASK, 2))
    assert await perform(op.DeadLettered(RUN, TASK))
    await perform(op.Exhume(RUN, TASK, 5))
    assert not await perform(op.DeadLettered(RUN, TASK))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("blobs", [True, False])
async def test_closing_leaves_a_tombstone_alone(performer: Performer, *, known: bool, blobs: bool) -> None:
    perform = performer.perform
    first = await perform(op.Append(RUN, CREATED, 0))
    last = await perform(op.Append(RUN, END, first))
    name = await performer.put_blob(RUN, b"input")
    records = (first, last) if known else ()

    assert await perform(op.Close(RUN, first, 60, records, blobs=blobs)) is False
    assert len(await performer.journal.read_leader(RUN)) == 2
    assert await performer.get_blob(name) == b"input"  # it went on, and may need it

    for _ in range(2):  # the second time as after a lost acknowledgement
        assert await perform(op.Close(RUN, last, 60, records, blobs=blobs)) is True
        [tomb] = await performer.journal.read_leader(RUN)
        assert tomb.body == b""
    if blobs:
        with pytest.raises(NotFoundError):
            await performer.get_blob(name)
    else:
        assert await performer.get_blob(name) == b"input"
    assert await perform(op.Append(RUN, CREATED, 0)) is None


async def test_erasing_leaves_nothing(performer: Performer) -> None:
    perform = performer.perform
    first = await perform(op.Append(RUN, CREATED, 0))
    last = await perform(op.Append(RUN, END, first))
    await performer.put_blob(RUN, b"input")
    await perform(op.Erase(RUN, (first, last), blobs=True))
    assert await performer.journal.read_leader(RUN) == []
    assert await performer.blobs.delete_of(RUN) == 0


async def test_verdicts_are_stored_once_in_their_stream(performer: Performer) -> None:
    for _ in range(2):
        for stream in ("RECORDS", "QUARANTINE"):
            await performer.perform(op.Publish(stream, "verdict", "shop/eu", "k1", b"{}"))  # type: ignore[arg-type]
    for stream, subject in (
        ("RECORDS", performer.names.record("verdict", "shop/eu", "k1")),
        ("QUARANTINE", performer.names.quarantine("shop/eu", "k1")),
    ):
        assert [message.subject for message in await _stored(performer, stream)] == [subject]


async def test_hints_reach_their_worker(performer: Performer) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    hints = await performer.bus.subscribe(
        performer.names.subject("hints", "w1"), lambda message: heard.put_nowait(message.body)
    )
    await performer.perform(op.Hint(RUN, "w1"))
    assert await asyncio.wait_for(heard.get(), 20) == RUN.encode()
    await hints.stop()


class _Message:
    """A message that remembers its answers."""

    subject = "tickets.x"

    def __init__(self, error: Exception | None = None) -> None:
        self.answers: list[str] = []
        self._error = error

    async def ack(self) -> None:
        await self._answer("ack")

    async def nak(self, delay: float | None = None) -> None:
        await self._answer(f"nak {delay}")

    async def _answer(self, word: str) -> None:
        if self._error is not None:
            raise self._error
        self.answers.append(word)


def _answering(operation: op.Operation) -> op.Procedure[str]:
    assert (yield op.Clock()) > 1e9
    assert (yield op.Execute("session")) == "concluded"
    assert (yield operation) is None
    return "through"


async def _execute(session: Any) -> Any:
    assert session == "session"
    return "concluded"


@pytest.mark.parametrize(("operation", "word"), [(op.Ack(), "ack"), (op.GiveBack(), "nak None")])
async def test_procedures_are_driven_to_their_end(
    performer: Performer, operation: op.Operation, word: str
) -> None:
    message = _Message()
    assert await performer.run(_answering(operation), message, _execute) == "through"
    assert message.answers == [word]


async def test_a_lost_answer_is_no_failure_but_every_other_is(performer: Performer) -> None:
    away = _Message(BrokerUnavailableError("away"))
    assert await performer.run(_answering(op.Ack()), away, _execute) == "through"
    with pytest.raises(LookupError):
        await performer.run(_answering(op.Ack()), _Message(LookupError()), _execute)
    with pytest.raises(TypeError, match="nothing performs"):
        await performer.run(_answering(op.Ack()))


class _Flaky:
    """Fails a few times before it succeeds."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        self.calls = 0

    async def __call__(self, *_: object, **__: object) -> Any:
        self.calls += 1
        if self.errors:
            raise self.errors.pop()
        return b"there"


@pytest.mark.parametrize("what", ["blob", "operation"])
async def test_a_patient_performer_waits_for_the_broker_with_one_line_in_the_log(
    bus: Bus, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level(logging.WARNING)
    performer = Performer(bus, Journal(bus), Blobs(bus), patient=True)
    flaky = _Flaky([BrokerUnavailableError("away") for _ in range(3)])
    performer.blobs.get = flaky  # type: ignore[method-assign]
    performer._handlers[op.Clock] = flaky
    call: Callable[[], Awaitable[Any]] = {
        "blob": lambda: performer.get_blob("x"),
        "operation": lambda: performer.perform(op.Clock()),
    }[what]
    assert await call() == b"there"
    assert flaky.calls == 4
    assert caplog.text.count("waits for the broker") == 1


async def test_what_is_refused_is_not_repeated(bus: Bus) -> None:
    patient = Performer(bus, Journal(bus), Blobs(bus), patient=True)
    patient.blobs.get = _Flaky([WrongSequenceError("no")])  # type: ignore[method-assign]
    with pytest.raises(WrongSequenceError):
        await patient.get_blob("x")
    impatient = Performer(bus, Journal(bus), Blobs(bus), patient=False)
    impatient.blobs.get = _Flaky([BrokerUnavailableError("no")])  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailableError):
        await impatient.get_blob("x")


async def test_nobody_waits_on_a_connection_that_is_closed_for_good(bus: Bus) -> None:
    performer = Performer(bus, Journal(bus), Blobs(bus), patient=True)
    performer.bus.closed.set()
    performer.blobs.get = _Flaky([BrokerUnavailableError("gone")])  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailableError):
        await performer.get_blob("x")
    performer.bus.closed.clear()
