"""Answers that a test prepares for the code under test: children, decisions, signals, events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.durable.children import Failed, Ok
from tidemill.testing.words import Decision, Happened, Said, Stand, Word, as_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.durable.children import Outcome
    from tidemill.kernel.clock import Duration
    from tidemill.task import Task

In = TypeVar("In")
Out = TypeVar("Out")


class Answers(ABC):
    """What a session and a stage have in common: the ways to prepare what the outside says."""

    def answer(self, task: Task[Any, Out], result: Out) -> None:
        """Prepare the result of a task's runs, which aren't executed.

        Raises:
            PayloadError: the result doesn't fit the task's return annotation.
        """
        task.encode_result(result)
        self._stand(task, lambda _: Ok(result))

    def answer_with(self, task: Task[In, Out], function: Callable[[In], Out]) -> None:
        """Prepare what computes the results of a task's runs from their payloads."""
        self._stand(task, lambda payload: Ok(function(payload)))

    def fail(self, task: Task[Any, Any], error: str, *, state: str = "failed") -> None:
        """Prepare that a task's runs end without a result, in `state`."""
        self._stand(task, lambda _: Failed(error, "RunFailedError", None), state)

    def approve(
        self, name: str, *, by: str | None = None, comment: str = "", data: Any = None, after: Duration = 0
    ) -> None:
        """Say yes to an approval, as soon as it is asked for.

        Args:
            name: the approval's.
            by: who says it; by default one who may.
            comment: what they say about it.
            data: what they fill into the form.
            after: how long from now they say it, by the stage's clock.
        """
        self._say(Decision(name, by, approved=True, comment=comment, data=as_json(data)), after)

    def refuse(self, name: str, *, by: str | None = None, comment: str = "", after: Duration = 0) -> None:
        """Say no to an approval, as soon as it is asked for."""
        self._say(Decision(name, by, approved=False, comment=comment, data=None), after)

    def complete(self, name: str, value: Any = None, *, by: str | None = None, after: Duration = 0) -> None:
        """Give a token its value, as soon as there is such a token."""
        self._say(Decision(name, by, approved=True, comment="", data=as_json(value)), after)

    def signal(self, name: str, data: Any = None, *, run: str | None = None, after: Duration = 0) -> None:
        """Send a signal.

        Args:
            name: the signal's.
            data: what it brings.
            run: the run that it is for; by default the first.
            after: how long from now it is sent, by the stage's clock.
        """
        self._say(Said(name, as_json(data), run), after)

    def event(
        self,
        type: str,  # noqa: A002 - CloudEvents' word
        data: Any = None,
        *,
        source: str = "test",
        subject: str | None = None,
        after: Duration = 0,
    ) -> None:
        """Have an event happen that runs may wait for; it starts none.

        Args:
            type: its whole type.
            data: its data.
            source: where it comes from.
            subject: what it happened to.
            after: how long from now it happens, by the stage's clock.
        """
        self._say(Happened(type, as_json(data), source, subject, 0.0), after)

    def _stand(
        self, task: Task[Any, Any], told: Callable[[Any], Outcome[Any]], state: str = "failed"
    ) -> None:
        def of_json(payload: bytes) -> Outcome[Any]:
            return told(task.decode_payload(payload))

        self._stands(task.id, Stand(of_json, task.encode_result, state))

    @abstractmethod
    def _stands(self, task_id: str, stand: Stand) -> None:
        """Have something stand for the runs of a task."""

    @abstractmethod
    def _say(self, word: Word, after: Duration) -> None:
        """Have something said after a while."""
