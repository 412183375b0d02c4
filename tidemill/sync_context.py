"""`SyncContext`: what a sync handler can ask and say while it runs, in its thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from tidemill.durable import children, replies, steps, waits
from tidemill.durable.branch import here
from tidemill.durable.children import Call
from tidemill.durable.steps import Step
from tidemill.durable.waits import Approval
from tidemill.kernel.clock import Duration, seconds
from tidemill.run_context import RunContext

T = TypeVar("T")
P = ParamSpec("P")
Co = Coroutine[Any, Any, T]


class SyncContext(RunContext):
    """The run, as a sync handler sees it, which is executed in a thread: the same words, and they block."""

    @property
    def cancelled(self) -> bool:
        """Whether the handler was asked to stop. No thread can be stopped from outside: look now and then."""
        return self._attempt.cancelled()

    def step(self, step: str | Step, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Execute a function once in the run's life, in this thread; see `Context.step`."""
        options = step if isinstance(step, Step) else Step(step)
        branch = self._branch(f"step {options.name!r}")
        one = steps.OneStep(branch.script, branch.place(options.name), options, fn)
        result: T = steps.in_this_thread(one, lambda: fn(*args, **kwargs), self._wait)
        return result

    def sleep(self, duration: Duration, /, *, name: str | None = None) -> None:
        """Wait, for any time, without holding anything; see `Context.sleep`."""
        branch = self._branch("sleep")
        pause = waits.sleep_until(duration, None)
        self._wait(waits.sleep(branch.script, branch.place(name or "sleep"), pause, None))

    def wait_for_approval(self, name: str, /, *, timeout: Duration) -> Approval[None]:
        """Wait until somebody has decided; see `Context.wait_for_approval`."""
        branch = self._branch("wait_for_approval")
        place = branch.place(f"approval:{name}")
        found: Approval[None] = self._wait(
            waits.approval(branch.script, place, name, None, seconds(timeout), (), 1)
        )
        return found

    def wait_for_signal(self, name: str, model: type[T], /, *, timeout: Duration) -> T:
        """Wait for the next signal of a name; see `Context.wait_for_signal`."""
        branch = self._branch("wait_for_signal")
        place = branch.place(f"signal:{name}")
        found: T = self._wait(waits.signal(branch.script, place, name, model, seconds(timeout)))
        return found

    def gather(self, *calls: Call[T]) -> list[T]:
        """Run children together and return their results in order; see `Context.gather`."""
        branch = self._branch("gather")
        return self._wait(children.join_all(branch.script, branch.place("gather"), calls))

    def reply(self, body: object, *, status: int = 200, media_type: str = "application/json") -> bool:
        """Answer the sender of the run's event, who waits; see `Context.reply`."""
        branch = self._branch("reply")
        place = branch.place(replies.STEP)
        return self._wait(replies.reply(branch.script, place, body, status, media_type))

    def _wait(self, coroutine: Co[T]) -> T:
        """Have the loop do something, and wait for it in this thread."""
        branch = here("a wait")
        return branch.script.wait(branch, coroutine)
