"""What a handler can ask and say while it runs: `Context` for async handlers, `SyncContext` for others."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidemill.kernel import clock

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from datetime import datetime

    from tidemill.event import Event

    FindEvent = Callable[[], Event[Any] | None]


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
        now: the run's clock; the engine decides what it reads on a resumed run.
        cancelled: says whether the attempt was asked to stop; called from the handler's thread.
    """

    run_id: str
    task_id: str
    number: int = 1
    now: Callable[[], datetime] = clock.now
    cancelled: Callable[[], bool] = _never


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds run, task and attempt to every record; a caller's `extra` is kept beside them."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Return message and keywords with the run's facts in `extra`."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


class _RunContext:
    """What both contexts share. Built by the engine, once per attempt."""

    def __init__(self, attempt: Attempt, event: FindEvent = _no_event) -> None:
        self._attempt = attempt
        self._find_event = event

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


class Context(_RunContext):
    """The run, as an async handler sees it; the handler's parameter that is annotated `Context`."""

    def idempotency_key(self, step: str) -> str:
        """Return a key for an upstream that takes one (Stripe and others), stable across attempts.

        Args:
            step: a name for what is done with the key; another name gives another key.
        """
        digest = hashlib.sha256(f"step\n{self.run_id}\n{step}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:40]

    def now(self) -> datetime:
        """Return the time by the run's clock, in UTC."""
        return self._attempt.now()


class SyncContext(_RunContext):
    """The run, as a sync handler sees it, which is executed in a thread."""

    @property
    def cancelled(self) -> bool:
        """Whether the handler was asked to stop. No thread can be stopped from outside: look now and then."""
        return self._attempt.cancelled()
