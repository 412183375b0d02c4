"""What a durable handler's script needs, as a stage has it: the run's journal in memory."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

import orjson

from tidemill.durable.port import Child, Listening, LostRun, OpenToken, Port
from tidemill.kernel.protocol.attempt import Commit, Session, remember
from tidemill.kernel.protocol.creation import create_child
from tidemill.kernel.protocol.operations import CancelRuns
from tidemill.kernel.protocol.records import Created, News, Record
from tidemill.testing.memory import Crashed, Memory
from tidemill.testing.replied import Replied

if TYPE_CHECKING:
    from tidemill.kernel.protocol.operations import Procedure
    from tidemill.kernel.protocol.state import State
    from tidemill.kernel.reply import Reply
    from tidemill.testing.outside import Outside

T = TypeVar("T")


class MemoryPort(Port):
    """The journal of one owned run. Once its process has died, nothing that the run says counts.

    Attributes:
        lost: whether the run belongs to somebody else by now.
        died: whether that is so because its process has died.
    """

    def __init__(self, session: Session, memory: Memory, outside: Outside) -> None:
        self.run_id = session.ticket.run
        self.task_id = session.ticket.task
        self.lost = False
        self.died = False
        self._session = session
        self._memory = memory
        self._outside = outside
        self._writing = asyncio.Lock()

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
            LostRun: somebody else owns the run, or its process has died.
        """
        async with self._writing:
            await self._outside.turns()
            outcome = self._perform(remember(self._session, record, unless))
        if outcome is Commit.LOST:
            raise self.lose()
        return outcome is Commit.DONE

    def now(self) -> float:
        """Return the time of the stage's clock in seconds since the epoch."""
        return self._memory.now

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks, in a thread."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(None, lambda: context.run(function))

    def executing(self, key: str) -> None:
        """Count the execution of a step."""
        self._outside.count(self.run_id, key)

    async def put_blob(self, data: bytes) -> str:
        """Store a large value that the run owns and return its name."""
        return self._memory.put_blob(self.run_id, data)

    async def get_blob(self, name: str) -> bytes:
        """Return a large value."""
        return self._memory.blobs[name]

    async def create_children(self, children: Sequence[Child]) -> None:
        """Create runs; what stands for the runs of a task ends them at once."""
        ended = []
        for child in children:
            await self._outside.turns()
            if self._outside.stands_for(child):
                continue
            self._outside.require(child.task)
            item = self._perform(create_child(child.run, self._created(child)))
            if item is not None:
                ended.append(item)
        if ended:
            await self.remember(News(rid=self.next_rid(), items=tuple(ended)))

    def _created(self, child: Child) -> Created:
        delay, at = child.options.get("delay"), child.options.get("at")
        start_at = datetime.fromisoformat(at).timestamp() if at is not None else None
        if delay is not None:
            start_at = self.now() + delay
        ttl = child.options.get("ttl")
        return Created(
            rid=f"child-{child.run}",
            task=child.task,
            hooks=self._outside.has_hooks(child.task),
            start_at=start_at,
            expires_at=(start_at or self.now()) + ttl if ttl is not None else None,
            tags=tuple(child.options.get("tags", ())),
            parent=child.parent,
            raw=child.payload,
        )

    async def result_of(self, run: str) -> bytes:
        """Return the result of a child that has completed, as JSON text."""
        end = self._memory.state(run).end
        if end is None:
            raise AssertionError(f"{run} has told of its end and has none")
        return self._memory.blobs[end.blob] if end.blob is not None else orjson.dumps(end.result)

    async def cancel_runs(self, runs: Sequence[str], reason: str) -> None:
        """Ask for the end of runs."""
        await self._outside.turns()

        def asking() -> Procedure[None]:
            yield CancelRuns(tuple(runs), reason, self.run_id)

        self._perform(asking())

    async def listen(self, wait: Listening) -> None:
        """Have events that match sent to the run's mailbox."""
        self._check()
        self._outside.listen(self.run_id, wait, self.now())

    async def open_token(self, token: OpenToken) -> None:
        """Let the decisions come that were prepared."""
        self._check()
        self._outside.open_token(self.run_id, token)

    async def reply(self, answer: Reply) -> bool:
        """Note an answer; a sender waits for it unless the test says otherwise."""
        self._check()
        self._outside.replies.append(Replied(self.run_id, answer.status, answer.media_type, answer.body))
        return self._outside.sender_waits

    def token_url(self, key: str, until: float, by: str = "") -> str:  # noqa: ARG002 - the seam's
        """Return an address that leads nowhere."""
        return f"https://tidemill.test/t/{self.run_id}/{key.removeprefix('token:')}"

    def lose(self) -> LostRun:
        """Note that the run isn't this one's any more, and return what says so."""
        self.lost = True
        return LostRun(self.run_id)

    def _check(self) -> None:
        if self.lost:
            raise LostRun(self.run_id)

    def _perform(self, procedure: Procedure[T]) -> T:
        """Perform a procedure as this run's process.

        Raises:
            LostRun: the process has died, now or before.
        """
        self._check()
        try:
            return self._memory.run(procedure)
        except Crashed:
            self.died = True
            raise self.lose() from None
