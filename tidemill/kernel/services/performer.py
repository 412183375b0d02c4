"""The thin layer that performs the protocol's operations on JetStream, one method for each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import orjson

from tidemill.kernel.clock import now, rfc3339_at
from tidemill.kernel.errors import BrokerUnavailableError, NotFoundError, WrongSequenceError
from tidemill.kernel.jetstream.blobs import Blobs
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.journal import Journal
from tidemill.kernel.jetstream.records import delete, next_from_leader, scan_leader
from tidemill.kernel.letters import letter, open_letter
from tidemill.kernel.marks import mark_of, record_headers
from tidemill.kernel.protocol import operations as op
from tidemill.kernel.protocol import ticket_body
from tidemill.kernel.protocol.closer import Mark
from tidemill.kernel.protocol.conclusions import Conclusion
from tidemill.kernel.protocol.records import End, Entry, decode, encode
from tidemill.kernel.protocol.state import fold
from tidemill.kernel.signals import write_item, write_signal

T = TypeVar("T")
Executor = Callable[[Any], Awaitable[Conclusion]]
Isolator = Callable[[], Awaitable[None]]
_MOST_ENDINGS: Final = 100_000
_AT_ONCE: Final = 64
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 2.0
_REPORT_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class Answerable(Protocol):
    """A message that a procedure may acknowledge or give back."""

    @property
    def subject(self) -> str:
        """Where the message came from."""

    async def ack(self) -> None:
        """Acknowledge it."""

    async def nak(self, delay: float | None = None) -> None:
        """Ask for its redelivery."""


class Performer:
    """Performs operations on one connection.

    With `patient`, an operation waits for a broker that is away: all of them may be repeated, because
    appends recognise their own records and tickets are told apart by what they continue. Otherwise the
    procedure is abandoned at the first failure. `endings` collects the ends that were appended, for notes
    to the closer.
    """

    def __init__(self, bus: Bus, journal: Journal, blobs: Blobs, *, patient: bool) -> None:
        self.bus = bus
        self.names = bus.names
        self.journal = journal
        self.blobs = blobs
        self._patient = patient
        self._reported_at = -_REPORT_SECONDS
        self.endings: deque[Mark] = deque(maxlen=_MOST_ENDINGS)
        self._handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            op.Append: self._append,
            op.SendTicket: self._send_ticket,
            op.Read: self._read,
            op.ReadLeader: self._read_leader,
            op.Schedule: self._schedule,
            op.CancelTimer: self._cancel_timer,
            op.Bury: self._bury,
            op.Exhume: self._exhume,
            op.Hint: self._hint,
            op.Tell: self._tell,
            op.CancelRuns: self._cancel_runs,
            op.JournalOpen: self._journal_open,
            op.Clock: self._clock,
            op.TicketOutstanding: self._ticket_outstanding,
            op.TimerPending: self._timer_pending,
            op.DeadLettered: self._dead_lettered,
            op.Close: self._close,
            op.Erase: self._erase,
            op.Publish: self._publish,
        }

    async def run(
        self,
        procedure: op.Procedure[T],
        message: Answerable | None = None,
        execute: Executor | None = None,
        isolate: Isolator | None = None,
    ) -> T:
        """Drive a procedure to its end and return its result.

        `message` is what `Ack` and `GiveBack` are about, `execute` runs user code for `Execute`, `isolate`
        waits until no other suspect executes for `Isolate`.

        Raises:
            BrokerError: an operation failed; nothing was acknowledged, so the cause will come again.
        """
        result: Any = None
        try:
            while True:
                operation = procedure.send(result)
                if type(operation) in self._handlers:
                    result = await self.perform(operation)
                elif isinstance(operation, op.Execute) and execute is not None:
                    result = await execute(operation.session)
                elif isinstance(operation, op.Isolate) and isolate is not None:
                    await isolate()
                    result = None
                elif message is not None:
                    await self._answer(message, operation)
                    result = None
                else:
                    raise TypeError(f"nothing performs {operation!r} here")
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def perform(self, operation: op.Operation) -> Any:
        """Perform one operation that needs neither a message nor user code, and return its result."""
        handler = self._handlers[type(operation)]
        try:
            return await handler(operation)
        except BrokerUnavailableError as error:
            self._bear(error)
        return await self._patiently(lambda: handler(operation))

    async def get_blob(self, name: str) -> bytes:
        """Return a blob's bytes, as patiently as operations are performed.

        Raises:
            NotFoundError: there is no such blob.
            BrokerError: it can't be read.
        """
        return await self._patiently(lambda: self.blobs.get(name))

    async def result_of(self, run: str) -> bytes:
        """Return the result of a run that has completed, as JSON text.

        Raises:
            NotFoundError: its journal is gone.
            BrokerError: it can't be read.
        """
        state = fold(await self.perform(op.ReadLeader(run)))
        if state.end is None:
            raise NotFoundError(f"the result of {run} is gone", hint="its journal was removed by hand")
        if state.end.blob is not None:
            return await self.get_blob(state.end.blob)
        return orjson.dumps(state.end.result)

    async def put_blob(self, owner: str, data: bytes) -> str:
        """Store a blob, as patiently as operations are performed, and return its name.

        Raises:
            BrokerError: it wasn't stored, or not all of it.
        """
        return await self._patiently(lambda: self.blobs.put(owner, data))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except BrokerUnavailableError as error:
                self._bear(error)
            await asyncio.sleep(pause)
            pause = min(_LAST_PAUSE, pause * 2)

    def _bear(self, error: BrokerUnavailableError) -> None:
        """Raise an error that isn't waited out; else log, once in a while, that work waits for the broker."""
        if not self._patient or self.bus.closed.is_set():
            raise error
        present = time.monotonic()
        if present - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = present
            _log.warning("work waits for the broker: %s", error.sentence)

    async def _answer(self, message: Answerable, operation: op.Operation) -> None:
        """Acknowledge or give back; where that is lost, the redelivery finds nothing left to do."""
        try:
            if isinstance(operation, op.Ack):
                await message.ack()
            else:
                await message.nak()
        except BrokerUnavailableError as error:
            _log.debug("an answer for %s was not sent: %s", message.subject, error.sentence)

    async def _append(self, operation: op.Append) -> int | None:
        record = operation.record
        try:
            seq = await self.journal.append(
                operation.run, encode(record), expect=operation.expect, headers=record_headers(record)
            )
        except WrongSequenceError:
            return None
        if isinstance(record, End):
            self.endings.append(mark_of(operation.run, seq, record))
        return seq

    async def _read(self, operation: op.Read) -> list[Entry]:
        return [Entry(e.seq, decode(e.body), e.at) for e in await self.journal.read(operation.run)]

    async def _read_leader(self, operation: op.ReadLeader) -> list[Entry]:
        found = await self.journal.read_leader(operation.run, after=operation.after)
        return [Entry(e.seq, decode(e.body), e.at) for e in found]

    async def _send_ticket(self, operation: op.SendTicket) -> None:
        headers: dict[str, str] = {}
        if operation.once:
            headers["Nats-Msg-Id"] = f"{operation.run}:{operation.seq}"
        if operation.cancels_timer:
            headers["Nats-Scheduler"] = self.names.timer(operation.task, operation.run, operation.seq)
            headers["Nats-Schedule-Next"] = "purge"
        subject = self.names.ticket(operation.task, operation.run, operation.seq)
        await self.bus.publish(
            subject,
            ticket_body.write(operation.kind, operation.created, operation.known),
            headers=headers or None,
        )

    async def _schedule(self, operation: op.Schedule) -> None:
        headers = {
            "Nats-Schedule": f"@at {rfc3339_at(operation.at)}",
            "Nats-Schedule-Target": self.names.ticket(operation.task, operation.run, operation.seq),
        }
        body = ticket_body.write("timer", operation.created, operation.known)
        subject = self.names.timer(operation.task, operation.run, operation.seq)
        await self.bus.publish(subject, body, headers=headers)

    async def _cancel_timer(self, operation: op.CancelTimer) -> None:
        await self._purge("TICKETS", self.names.timer(operation.task, operation.run, operation.seq))

    async def _bury(self, operation: op.Bury) -> None:
        subject = self.names.dead(operation.state.task, operation.run)
        headers = {"Nats-Msg-Id": f"{operation.run}:{operation.seq}"}
        await self.bus.publish(subject, letter(operation.run, operation.state), headers=headers)

    async def _exhume(self, operation: op.Exhume) -> None:
        subject = self.names.dead(operation.task, operation.run)
        async for record in scan_leader(self.bus, self.names.stream("DEAD"), subject):
            if open_letter(record.body)[0].get("seq", 0) <= operation.seq:
                await delete(self.bus, self.names.stream("DEAD"), record.seq)

    async def _hint(self, operation: op.Hint) -> None:
        await self.bus.send(self.names.subject("hints", operation.worker), operation.run.encode())

    async def _tell(self, operation: op.Tell) -> None:
        headers = {"Nats-Msg-Id": operation.item.id}
        body = write_item(operation.item)
        await self.bus.publish(self.names.signal(operation.run), body, headers=headers)

    async def _cancel_runs(self, operation: op.CancelRuns) -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        body = write_signal("cancel", operation.reason, "", operation.parent)

        async def one(run: str) -> None:
            async with places:
                await self.bus.publish(self.names.signal(run), body)

        await asyncio.gather(*map(one, operation.runs))

    async def _journal_open(self, operation: op.JournalOpen) -> bool:
        tail = await self.journal.tail_leader(operation.run)
        return tail is not None and bool(tail.body)

    async def _clock(self, _: op.Clock) -> float:
        return now().timestamp()

    async def _ticket_outstanding(self, operation: op.TicketOutstanding) -> bool:
        return await self._stored("TICKETS", self.names.subject(*self._ticket_tokens(operation)))

    def _ticket_tokens(self, operation: op.TicketOutstanding) -> tuple[str, ...]:
        filter_tokens = self.names.tokens(self.names.tickets_of(operation.task))
        return (*filter_tokens[:-1], operation.run, ">")

    async def _timer_pending(self, operation: op.TimerPending) -> bool:
        return await self._stored("TICKETS", self.names.timer(operation.task, operation.run, operation.seq))

    async def _dead_lettered(self, operation: op.DeadLettered) -> bool:
        return await self._stored("DEAD", self.names.dead(operation.task, operation.run))

    async def _close(self, operation: op.Close) -> bool:
        """Close a journal.

        A roll-up costs the broker 0.3 ms. Where all records are known, a plain tombstone behind them and one
        deletion each cost half of that; in between the tombstone, which is the newest, says it all. Blobs go
        behind the tombstone, since a run that was reopened meanwhile needs its input, and before the end,
        which comes back into sight and is closed again when whoever does this dies in between.
        """
        run, expect, keep = operation.run, operation.expect, operation.keep
        try:
            if not operation.records and not operation.blobs:
                await self.journal.close(run, expect=expect, keep=keep)
                return True
            await self.journal.entomb(run, expect=expect, keep=keep)
        except WrongSequenceError:
            tail = await self.journal.tail_leader(run)
            if tail is None or tail.body:
                return False
        if operation.blobs:
            await self.blobs.delete_of(run)
        if operation.records:
            await self._delete(operation.records)
        else:
            await self.journal.clear_tomb(run)
        return True

    async def _erase(self, operation: op.Erase) -> None:
        if operation.blobs:
            await self.blobs.delete_of(operation.run)
        await self._delete(operation.records)

    async def _delete(self, records: tuple[int, ...]) -> None:
        """Delete records in their order: a beginning without its end would be a living run."""
        for seq in records:
            await self.journal.delete(seq)

    async def _publish(self, operation: op.Publish) -> None:
        headers = {"Nats-Msg-Id": f"{operation.kind}:{operation.key}"}
        if operation.stream == "RECORDS":
            subject = self.names.record(operation.kind, operation.source, operation.key)
        else:
            subject = self.names.quarantine(operation.source, operation.key)
        await self.bus.publish(subject, operation.body, headers=headers)

    async def _purge(self, stream: str, subject: str) -> None:
        await self.bus.api(f"STREAM.PURGE.{self.names.stream(stream)}", {"filter": subject})

    async def _stored(self, stream: str, subject: str) -> bool:
        """Ask the stream's leader whether any message stands under a subject."""
        return await next_from_leader(self.bus, self.names.stream(stream), subject) is not None
