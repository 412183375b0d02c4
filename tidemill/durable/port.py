"""What a script needs from its surroundings: a worker with its broker, or a test with its memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tidemill.kernel.protocol.records import Parent, Record
    from tidemill.kernel.protocol.state import State
    from tidemill.kernel.reply import Reply

T = TypeVar("T")


class LostRun(BaseException):
    """Somebody else owns the run by now: its code stops here, and nothing that it says counts."""


class Port(ABC):
    """The journal of one run and what goes with it, as its owner sees it.

    Attributes:
        run_id: the run.
        task_id: its task.
    """

    run_id: str
    task_id: str

    @property
    @abstractmethod
    def state(self) -> State:
        """The run as far as its journal is known here."""

    @abstractmethod
    def next_rid(self) -> str:
        """Return an id for the next record."""

    @abstractmethod
    async def remember(self, record: Record, unless: Callable[[State], bool] | None = None) -> bool:
        """Append a record; False: news made `unless` true, and nothing was appended.

        Raises:
            LostRun: somebody else owns the run.
        """

    @abstractmethod
    def now(self) -> float:
        """Return the present time in seconds since the epoch."""

    @abstractmethod
    async def in_thread(self, function: Callable[[], T]) -> T:
        """Call a function that blocks, in a thread of its own."""

    def span(self, name: str) -> AbstractContextManager[object]:  # noqa: ARG002 - most record none
        """Record what happens inside of the block, for who looks at traces."""
        return nullcontext()

    def executing(self, key: str) -> None:  # noqa: B027 - most have nothing to do about it
        """Hear that a step's function is about to be called."""

    @abstractmethod
    async def put_blob(self, data: bytes) -> str:
        """Store a large value that the run owns and return its name."""

    @abstractmethod
    async def get_blob(self, name: str) -> bytes:
        """Return a large value."""

    @abstractmethod
    async def create_children(self, children: Sequence[Child]) -> None:
        """Create runs; those that exist stay as they are."""

    @abstractmethod
    async def result_of(self, run: str) -> bytes:
        """Return the result of a child that has completed, as JSON text."""

    @abstractmethod
    async def cancel_runs(self, runs: Sequence[str], reason: str) -> None:
        """Ask for the end of runs, durably."""

    @abstractmethod
    async def listen(self, wait: Listening) -> None:
        """Have events that match sent to the run's mailbox; saying so again changes nothing."""

    @abstractmethod
    async def open_token(self, token: OpenToken) -> None:
        """Let people know of a decision that the run waits for; saying so again changes nothing."""

    @abstractmethod
    async def reply(self, answer: Reply) -> bool:
        """Hand an answer to the sender of the run's event; False: nobody waits for it."""

    async def reply_again(self, answer: Reply) -> None:  # noqa: B027 - most have nothing to do about it
        """Hand an answer that is written down to those who began to wait meanwhile."""

    @abstractmethod
    def token_url(self, key: str, until: float, by: str = "") -> str:
        """Return the address of the page on which a token is answered; empty where there is none.

        It leads there until a moment (seconds since the epoch), and may say who answers.
        """


@dataclass(frozen=True, slots=True)
class Child:
    """A run that its parent starts; `payload` is its input as JSON text, `parent` where its end is told."""

    run: str
    task: str
    payload: bytes
    parent: Parent | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Events that a run waits for.

    Attributes:
        box: the run's mailbox for them.
        pattern: over the event's type, as a task's `on`.
        where: a condition, as a task's; `params` are its variable of that name.
        match: paths into the data and the values that must stand there.
        lookback: seconds before now in which an event counts too.
        until: when nobody waits any more, in seconds since the epoch.
    """

    box: str
    pattern: str
    where: str | None = None
    params: Mapping[str, Any] | None = None
    match: Mapping[str, Any] | None = None
    lookback: float = 0.0
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenToken:
    """A decision that somebody is asked for.

    Attributes:
        key: the run's mailbox for it.
        name: what people call it.
        approval: whether it is a yes or a no; else data of the `schema` are asked for.
        approvers: who may decide; empty for everybody.
        quorum: how many must say yes.
        schema: JSON Schema of the data that come with it.
        until: when nobody waits any more, in seconds since the epoch.
    """

    key: str
    name: str
    approval: bool
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    schema: Mapping[str, Any] | None = None
    until: float | None = None
