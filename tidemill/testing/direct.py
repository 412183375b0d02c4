"""What stands behind the context of a direct call: nothing is remembered, and no wait takes time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.durable.port import Child, Listening, OpenToken, Port
from tidemill.durable.script import Script
from tidemill.durable.waits import token_box
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.protocol.records import News, Record, Wait
from tidemill.kernel.protocol.state import State
from tidemill.testing.replied import Replied
from tidemill.testing.words import Decision, Happened, Said, Stand, Word

if TYPE_CHECKING:
    from tidemill.durable.branch import Branch
    from tidemill.kernel.protocol.records import Item
    from tidemill.kernel.reply import Reply

T = TypeVar("T")


@dataclass(slots=True)
class Prepared:
    """What the outside says, and what stands for the runs of tasks."""

    words: list[Word] = field(default_factory=list)
    stands: dict[str, Stand] = field(default_factory=dict)
    replies: list[Replied] = field(default_factory=list)
    sender_waits: bool = True


class DirectPort(Port):
    """A journal that nobody reads: the state of one call, in memory."""

    def __init__(
        self,
        run_id: str,
        task_id: str,
        prepared: Prepared,
        clock: Callable[[], datetime],
        note: Callable[[Child], None],
    ) -> None:
        self.run_id = run_id
        self.task_id = task_id
        self._prepared = prepared
        self._clock = clock
        self._note = note
        self._skipped = 0.0
        self._records = 0
        self._blobs: list[bytes] = []
        self._state = State()

    @property
    def state(self) -> State:
        """What the call has come to."""
        return self._state

    def next_rid(self) -> str:
        """Return an id for the next record."""
        return f"{self.run_id}.{self._records}"

    async def remember(self, record: Record, unless: Callable[[State], bool] | None = None) -> bool:
        """Take a record into the state; False: `unless` is true."""
        if unless is not None and unless(self._state):
            return False
        self._records += 1
        self._state.apply(self._records, record)
        return True

    def now(self) -> float:
        """Return the session's time with what was slept through added to it."""
        return self._clock().timestamp() + self._skipped

    def skip_to(self, moment: float) -> None:
        """Let a moment be reached at once."""
        self._skipped += max(0.0, moment - self.now())

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks, in a thread."""
        return await asyncio.to_thread(function)

    async def put_blob(self, data: bytes) -> str:
        """Keep a large value and return its name."""
        self._blobs.append(data)
        return str(len(self._blobs) - 1)

    async def get_blob(self, name: str) -> bytes:
        """Return a large value."""
        return self._blobs[int(name)]

    async def create_children(self, children: Sequence[Child]) -> None:
        """Note runs; they end at once where answers were prepared for their task."""
        for child in children:
            self._note(child)
            stand = self._prepared.stands.get(child.task)
            item = stand.item(child) if stand is not None else None
            if item is not None:
                self.hear(item)

    async def result_of(self, run: str) -> bytes:
        """Raise: what stands for a run tells its result itself."""
        raise AssertionError(f"{run} was never executed")

    async def cancel_runs(self, runs: Sequence[str], reason: str) -> None:
        """Do nothing: they have ended."""

    async def listen(self, wait: Listening) -> None:
        """Take the first event that was prepared and fits."""
        for word in self._prepared.words:
            if isinstance(word, Happened) and word.fits(wait):
                self._prepared.words.remove(word)
                self.hear(word.item(wait, self.run_id))
                return

    async def open_token(self, token: OpenToken) -> None:
        """Take the decisions that were prepared, as many as are needed."""
        for word in tuple(self._prepared.words):
            wanted = Wait(key="", kind="", box=token.key, need=token.quorum, spare=0)
            if self._state.decided(wanted):
                return
            if isinstance(word, Decision) and token_box(word.name) == token.key:
                self._prepared.words.remove(word)
                self.hear(word.item(word.by or next(iter(token.approvers), "somebody"), self.now()))

    def take_signal(self, box: str) -> None:
        """Take the next signal of a name, if one was prepared."""
        for word in self._prepared.words:
            if isinstance(word, Said) and f"signal:{word.name}" == box:
                self._prepared.words.remove(word)
                self.hear(word.item(self.now()))
                return

    async def reply(self, answer: Reply) -> bool:
        """Note an answer; the prepared sender takes it, if there is one."""
        self._prepared.replies.append(Replied(self.run_id, answer.status, answer.media_type, answer.body))
        return self._prepared.sender_waits

    def token_url(self, key: str, until: float, by: str = "") -> str:  # noqa: ARG002 - the seam's
        """Return an address that leads nowhere."""
        return f"https://tidemill.test/t/{self.run_id}/{key.removeprefix('token:')}"

    def hear(self, item: Item) -> None:
        """Take in a piece of news."""
        self._records += 1
        self._state.apply(self._records, News(rid=item.id, items=(item,)))


class DirectScript(Script):
    """The script of a direct call: steps are executed, sleeps are over, answers are there or never come."""

    def __init__(self, port: DirectPort) -> None:
        super().__init__(port)
        self._direct = port

    def branch_of(self, task: asyncio.Task[Any]) -> Branch:  # noqa: ARG002 - all tasks are one branch here
        """Return the only branch there is."""
        return self.main

    async def pend(self, wait: Wait) -> bool:
        """Say whether a mailbox has what is waited for; time is over at once.

        Raises:
            ConflictError: it hasn't, and nothing was prepared.
        """
        await self.settle_debts()
        if wait.kind == "signal" and not self.state.decided(wait):
            self._direct.take_signal(wait.box)
        if self.state.decided(wait):
            return True
        if wait.box:
            raise ConflictError(f"no answer is prepared for {wait.kind} {wait.key!r}", hint=_HINTS[wait.kind])
        if wait.until is not None:
            self._direct.skip_to(wait.until)
        return False

    def wait(self, branch: Branch, coroutine: Coroutine[Any, Any, T]) -> T:
        """Execute a coroutine that never has to wait, in the thread that calls."""
        try:
            coroutine.send(None)
        except StopIteration as stop:
            value: T = stop.value
            return value
        raise AssertionError(f"{branch.last!r} is followed by something that waits")


_HINTS = {
    "signal": "session.signal(name, data) prepares one",
    "event": "session.event(type, data) prepares one",
    "approval": "session.approve(name) or session.refuse(name) prepares one",
    "token": "session.complete(name, value) prepares one",
    "children": "session.answer(task, result) prepares one",
}
