"""What a durable handler's script needs, as the worker has it: the run's journal on the broker."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from tidemill.durable.port import Child, Listening, LostRun, OpenToken, Port
from tidemill.durable.script import LINGER
from tidemill.kernel import clock
from tidemill.kernel.errors import BrokerError, NotFoundError, WrongSequenceError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.protocol.attempt import Commit, Session, remember
from tidemill.kernel.protocol.creation import create_child
from tidemill.kernel.protocol.operations import CancelRuns
from tidemill.kernel.protocol.records import Created, Item, News, Record
from tidemill.kernel.protocol.state import State
from tidemill.kernel.reply import KEEP_SECONDS, TAKEN, Reply
from tidemill.kernel.services.link_key import Links
from tidemill.kernel.services.performer import Performer
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.traces import Traces
from tidemill.kernel.services.waiting import Waiting

T = TypeVar("T")
_AT_ONCE: Final = 64
_REPLY_SECONDS: Final = 2.0
"""How long a gateway may take to say that it has handed an answer on."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all durable runs of a worker share.

    Attributes:
        performer: performs the protocol's operations.
        definitions: the tasks that children may be of.
        waiting: where runs let others know what they wait for.
        submit: calls a function in one of the worker's threads.
        links: makes the addresses at which tokens are answered.
        replies: where answers are kept for senders that come again; None keeps none.
        linger: seconds for which a run that only waits for time stays in memory.
        traces: records what steps do, and says below what children belong.
    """

    performer: Performer
    definitions: Definitions
    waiting: Waiting
    submit: Callable[[Callable[[], object]], asyncio.Future[object]]
    links: Links
    linger: float = LINGER
    replies: Bucket | None = None
    traces: Traces = field(default_factory=Traces)


class JournalPort(Port):
    """The journal of one owned run; appends follow one another."""

    def __init__(self, session: Session, task_id: str, surroundings: Surroundings) -> None:
        self.run_id = session.ticket.run
        self.task_id = task_id
        self._session = session
        self._around = surroundings
        self._writing = asyncio.Lock()
        self.lost = False

    @property
    def state(self) -> State:
        """The run as far as its journal is known here."""
        return self._session.state

    def next_rid(self) -> str:
        """Return an id for the next record."""
        return self._session.next_rid()

    async def remember(self, record: Record, unless: Callable[[State], bool] | None = None) -> bool:
        """Append a record; False: news made `unless` true, and nothing was appended.

        Raises:
            LostRun: somebody else owns the run.
        """
        async with self._writing:
            outcome = await self._around.performer.run(remember(self._session, record, unless))
        if outcome is Commit.LOST:
            self.lost = True
            raise LostRun(self.run_id)
        return outcome is Commit.DONE

    def span(self, name: str) -> AbstractContextManager[object]:
        """Record what happens inside of the block."""
        return self._around.traces.span(name, tidemill__run__id=self.run_id)

    def now(self) -> float:
        """Return the present time in seconds since the epoch: the worker's, unless a timer knows better.

        A worker whose clock lags behind the broker's would let the run go again and again until both agree.
        """
        return max(clock.now().timestamp(), self.state.passed)

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks, in one of the worker's threads."""
        context = contextvars.copy_context()
        return await self._around.submit(lambda: context.run(function))  # type: ignore[return-value] # what it returns

    async def put_blob(self, data: bytes) -> str:
        """Store a large value that the run owns and return its name."""
        return await self._around.performer.put_blob(self.run_id, data)

    async def get_blob(self, name: str) -> bytes:
        """Return a large value."""
        return await self._around.performer.get_blob(name)

    async def create_children(self, children: Sequence[Child]) -> None:
        """Create runs; those that exist stay as they are, and those that have ended tell so now."""
        for task in {child.task for child in children}:
            await self._require(task)
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(child: Child) -> Item | None:
            async with places:
                return await self._around.performer.run(create_child(child.run, await self._created(child)))

        ended = [item for item in await asyncio.gather(*map(one, children)) if item is not None]
        if ended:
            await self.remember(News(rid=self.next_rid(), items=tuple(ended)))

    async def _require(self, task: str) -> None:
        """Raise where nobody has ever served a task: its runs would wait for ever."""
        definitions = self._around.definitions
        try:
            definitions.find(task)
        except NotFoundError:
            await definitions.refresh()
            definitions.find(task)

    async def _created(self, child: Child) -> Created:
        delay, at = child.options.get("delay"), child.options.get("at")
        start_at = datetime.fromisoformat(at).timestamp() if at is not None else None
        if delay is not None:
            start_at = self.now() + delay
        ttl = child.options.get("ttl")
        large = len(child.payload) > INLINE_LIMIT
        return Created(
            rid=f"child-{child.run}",
            task=child.task,
            hooks=self._around.definitions.find(child.task).hooks,
            start_at=start_at,
            expires_at=(start_at or self.now()) + ttl if ttl is not None else None,
            tags=tuple(child.options.get("tags", ())),
            parent=child.parent,
            trace=self._around.traces.parent(),
            raw=b"" if large else child.payload,
            blob=await self._around.performer.put_blob(child.run, child.payload) if large else None,
        )

    async def result_of(self, run: str) -> bytes:
        """Return the result of a child that has completed, as JSON text.

        Raises:
            NotFoundError: its journal is gone.
        """
        return await self._around.performer.result_of(run)

    async def cancel_runs(self, runs: Sequence[str], reason: str) -> None:
        """Ask for the end of runs, durably."""
        await self._around.performer.perform(CancelRuns(tuple(runs), reason, self.run_id))

    async def listen(self, wait: Listening) -> None:
        """Have events that match sent to the run's mailbox; saying so again changes nothing."""
        facts = {
            "kind": "event",
            "pattern": wait.pattern,
            "where": wait.where,
            "params": wait.params,
            "match": wait.match,
            "lookback": wait.lookback,
        }
        await self._around.waiting.open(self.run_id, wait.box, facts, until=wait.until)

    async def open_token(self, token: OpenToken) -> None:
        """Let people know of a decision that the run waits for; saying so again changes nothing."""
        facts = {
            "kind": "approval" if token.approval else "token",
            "task": self.task_id,
            "name": token.name,
            "approvers": token.approvers,
            "quorum": token.quorum,
            "schema": token.schema,
            "asked_at": self.now(),
        }
        await self._around.waiting.open(self.run_id, token.key, facts, until=token.until)

    async def reply(self, answer: Reply) -> bool:
        """Hand an answer to the gateways at which senders of the run's event wait; False: nobody does."""
        if (address := self._reply_address()) is None:
            return False
        bus = self._around.performer.bus
        try:
            said = await bus.request(address, answer.encode(), timeout=_REPLY_SECONDS)
        except BrokerError as error:
            _log.debug("the reply of %s found nobody: %s", self.run_id, error.sentence)
            return False
        return said.body == TAKEN

    async def reply_again(self, answer: Reply) -> None:
        """Keep an answer for senders that come again; send it to those who looked for it before, and wait."""
        if (address := self._reply_address()) is None:
            return
        key, frame = self._around.performer.names.tokens(address)[-1], answer.encode()
        try:
            if self._around.replies is not None:
                with contextlib.suppress(WrongSequenceError):  # another task of this event was first
                    await self._around.replies.create(key, frame, keep=KEEP_SECONDS)
            await self._around.performer.bus.send(address, frame)
        except BrokerError as error:
            _log.debug("the reply of %s wasn't kept: %s", self.run_id, error.sentence)

    def _reply_address(self) -> str | None:
        """Return where answers go: it is made of the delivery's key, nobody sends it."""
        created = self.state.created
        if created is None or not created.reply or created.event is None:
            return None
        key = created.event.get("deliverykey")
        return self._around.performer.names.reply(key) if key else None

    def token_url(self, key: str, until: float, by: str = "") -> str:
        """Return the address of the page on which a token is answered; empty where there is none."""
        return self._around.links.url(self.run_id, key.removeprefix("token:"), until, by)
