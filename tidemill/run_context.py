"""What both kinds of context have: who the run is, its event, log, clock and ids."""

from __future__ import annotations

import hashlib
import logging
import random
import uuid
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.durable.branch import here, inside
from tidemill.event import Event
from tidemill.kernel import clock
from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import ContextError

if TYPE_CHECKING:
    from tidemill.durable.branch import Branch
    from tidemill.durable.script import Script

    FindEvent = Callable[[], Event[Any] | None]

T = TypeVar("T")


_UUIDS = uuid.UUID("6f1f6a3e-3f0c-5d0b-9d8e-3b8f3f6d2c11")


def _never() -> bool:
    return False


def _no_event() -> Event[Any] | None:
    return None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run: what the engine lends to a context.

    Attributes:
        run_id: the run's id.
        task_id: the task's id.
        number: the attempt's number, from 1.
        now: the run's clock, where nothing durable keeps one.
        cancelled: says whether the attempt was asked to stop; called from the handler's thread.
        script: what the run remembers; None in a context that nothing durable stands behind.
        hint: what to do instead, where there is no script.
    """

    run_id: str
    task_id: str
    number: int = 1
    now: Callable[[], datetime] = clock.now
    cancelled: Callable[[], bool] = _never
    script: Script | None = None
    hint: str = "start one with .trigger(), or test it with tidemill.testing.play"


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds run, task and attempt to every record; a caller's `extra` is kept beside them."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Return message and keywords with the run's facts in `extra`."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class RunContext:
    """What both contexts share. Built by the engine, once per attempt."""

    def __init__(self, attempt: Attempt, event: FindEvent = _no_event) -> None:
        self._attempt = attempt
        self._find_event = event
        self._drawn = 0

    @property
    def run_id(self) -> str:
        """The run's id, the same in all its attempts."""
        return self._attempt.run_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @cached_property
    def event(self) -> Event[Any] | None:
        """The event that started the run; None where it was triggered."""
        return self._find_event()

    @cached_property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger bound to the run: `tidemill.task.<id>`, with run, task and attempt on every record."""
        attempt = self._attempt
        facts = {"run_id": attempt.run_id, "task": attempt.task_id, "attempt": attempt.number}
        return RunLogger(logging.getLogger(f"tidemill.task.{attempt.task_id}"), facts)

    def idempotency_key(self, step: str) -> str:
        """Return a key for an upstream that takes one (Stripe and others), stable across attempts.

        Args:
            step: a name for what is done with the key; another name gives another key.
        """
        digest = hashlib.sha256(f"step\n{self.run_id}\n{step}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:40]

    def now(self) -> datetime:
        """Return the time by the run's clock, in UTC: the same whenever this code is executed again.

        It stands still between the parts that are remembered: it is when the last of them was over in this
        line of the code, and what it has waited for through this context.
        """
        script = self._attempt.script
        if script is None:
            return self._attempt.now()
        branch = inside() or script.main
        return datetime.fromtimestamp(branch.time, UTC)

    def approval_url(self, name: str, /, *, by: str = "", valid: Duration = "30d") -> str:
        """Return a link to a page on which an approval is answered; empty without `gateway.public_url`.

        Whoever has the link may answer: send each to one person. Where the approval lists its approvers, a
        link has to say which of them it is for.

        Args:
            name: the approval's, as `wait_for_approval` has it.
            by: who answers with it; by default they say so themselves.
            valid: how long the link leads anywhere; the approval's own timeout counts too.
        """
        port = self._branch("approval_url").script.port
        return port.token_url(f"token:{name}", port.now() + seconds(valid), by)

    def random(self) -> random.Random:
        """Return a source of random numbers that gives the same ones whenever this code is executed again."""
        return random.Random(self._seed("random"))  # noqa: S311 - it must be repeatable, it guards no secret

    def uuid(self) -> uuid.UUID:
        """Return an id that is unique, and the same whenever this code is executed again."""
        return uuid.uuid5(_UUIDS, self._seed("uuid"))

    def _seed(self, what: str) -> str:
        branch = inside()
        if branch is None:
            self._drawn += 1
            return f"{what}\n{self._drawn_by}\n{self._drawn}"
        branch.drawn += 1
        return f"{what}\n{self._drawn_by}\n{branch.path}\n{branch.drawn}"

    @property
    def _drawn_by(self) -> str:
        """The run whose numbers these are: a forked one goes on drawing those that its code has seen."""
        script = self._attempt.script
        return script.seed if script is not None else self.run_id

    def _branch(self, what: str) -> Branch:
        """Return the branch of the code that calls.

        Raises:
            ContextError: it isn't the run's, or nothing durable stands behind this context.
        """
        if self._attempt.script is None:
            raise ContextError(f"{what} needs a run", hint=self._attempt.hint)
        branch = here(what)
        if branch.script is not self._attempt.script:
            raise ContextError(
                f"{what} asks the context of {self.run_id} from another run",
                hint="a context belongs to one run: use the handler's own",
            )
        return branch
