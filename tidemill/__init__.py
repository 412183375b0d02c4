"""Tidemill: signed webhooks in, durable Python tasks out.

    from tidemill import Context, Retry, task

    @task(on="github.push", where="data.ref == 'refs/heads/main'", retry=Retry(max_attempts=5))
    async def deploy(push: Push, ctx: Context) -> Report: ...

The names below are the public API. `tidemill.testing` is for unit tests of handlers, `tidemill.client`
for programs that reach a Tidemill elsewhere than their settings say. All other modules are internal.
"""

from tidemill.context import Context
from tidemill.depends import Depends
from tidemill.durable.children import Call, Failed, Map, Ok, Outcome
from tidemill.durable.steps import Step
from tidemill.durable.waits import Approval, Token, WaitTimeout
from tidemill.event import Event
from tidemill.hooks import Started
from tidemill.kernel.clock import Duration
from tidemill.kernel.errors import (
    ConflictError,
    ContextError,
    ControlError,
    DefinitionError,
    NotFoundError,
    PayloadError,
    RunCancelledError,
    RunError,
    RunFailedError,
    SettingsError,
    StepError,
    TidemillError,
)
from tidemill.kernel.trigger import TriggerOptions
from tidemill.middleware import CallNext, Middleware, RunInfo
from tidemill.options import TaskOptions
from tidemill.retry import Abort, Retry, RetryAfter
from tidemill.run import Run
from tidemill.schedule import Cron, Tick
from tidemill.sync_context import SyncContext
from tidemill.task import FnTask, Task, TaskDecorator, task

__all__ = [  # noqa: RUF022 - grouped by what one does with them
    # Define tasks
    "task",
    "Task",
    "FnTask",
    "TaskDecorator",
    "TaskOptions",
    "Retry",
    "Cron",
    "Duration",
    "Depends",
    "Started",
    "Middleware",
    "RunInfo",
    "CallNext",
    # Inside of a handler
    "Context",
    "SyncContext",
    "Event",
    "Tick",
    "Step",
    "Call",
    "Map",
    "Ok",
    "Failed",
    "Outcome",
    "Approval",
    "Token",
    "RetryAfter",
    "Abort",
    "WaitTimeout",
    # Start runs and follow them
    "Run",
    "TriggerOptions",
    # Errors
    "TidemillError",
    "ConflictError",
    "ContextError",
    "ControlError",
    "DefinitionError",
    "NotFoundError",
    "PayloadError",
    "RunError",
    "RunCancelledError",
    "RunFailedError",
    "SettingsError",
    "StepError",
]
