"""A task's definition as data: what router, gateway and command line know of a task without its code.

Workers publish definitions into the `TASKS` bucket, one entry per task id. During a rolling deploy the
old and the new version of a task are served side by side and restart in any order. Each version has a
fingerprint, and the entry keeps when each was first published: a version takes the place of another only
if it was first published later. So an old worker that restarts never sets back what the new one changed
(the run protocol's flaw F18). To go back to an older version on purpose, its entry is removed first, or
the older version is published with force, as `tidemill dev` always does.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.json_faults import path_text
from tidemill.kernel.protocol.hooks import HOOKS_SUFFIX
from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.subjects import pattern_problem, type_matches

Takes = Literal["none", "payload", "event"]
# "." and ".." are steps in a path: the control API couldn't be asked for them.
_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}")
_MAX_VERSIONS: Final = 50
_TICK: Final = timedelta(microseconds=1)


def id_problem(task_id: str) -> str | None:
    """Say what is wrong with a task's id, or None."""
    if _ID.fullmatch(task_id):
        return None
    return "a task id is 1 to 64 letters, digits, '_', '-' or '.', but not '.' or '..'"


def _valid_id(value: str) -> str:
    if problem := id_problem(value.removesuffix(HOOKS_SUFFIX)):
        raise ValueError(problem)
    return value


def _valid_pattern(value: str) -> str:
    if problem := pattern_problem(value):
        raise ValueError(problem)
    return value


TaskId = Annotated[str, AfterValidator(_valid_id)]
Pattern = Annotated[str, AfterValidator(_valid_pattern)]


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RetryPolicy(_Stored):
    """How often and when a failed run is tried again; delays in seconds."""

    max_attempts: Annotated[int, Field(ge=1)] = 3
    factor: Annotated[float, Field(ge=1)] = 2
    min_delay: Annotated[float, Field(ge=0)] = 1
    max_delay: Annotated[float, Field(ge=0)] = 60
    jitter: bool = True


class TaskDefinition(_Stored):
    """What a task is, without its code.

    Attributes:
        id: the task's stable name.
        aliases: earlier names, under which runs may still be waiting.
        on: patterns of event types that start a run.
        where: CEL expression that an event must fulfil besides.
        schedules: when runs start by themselves.
        retry: the retry policy.
        concurrency: how many runs execute at the same time in the whole cluster; None is no limit.
        timeout: seconds that one attempt may execute, waits excluded; None is no limit.
        max_duration: seconds that a run may take in all, waits included; None is no limit.
        takes: whether the handler is given nothing, the event's data, or the whole event.
        payload_schema: JSON Schema of the payload; None where anything fits.
        hooks: whether hooks hear of the end of its runs.
        reply: whether its runs answer the senders of their events.
        code: digest of the handler's source, so that a change of code alone is a new version too.
    """

    id: TaskId
    aliases: tuple[TaskId, ...] = ()
    on: tuple[Pattern, ...] = ()
    where: str | None = None
    schedules: tuple[ScheduleRule, ...] = ()
    retry: RetryPolicy = RetryPolicy()
    concurrency: Annotated[int, Field(ge=1)] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    max_duration: Annotated[float, Field(gt=0)] | None = None
    takes: Takes = "payload"
    payload_schema: dict[str, Any] | None = None
    hooks: bool = False
    reply: bool = False
    code: str = ""

    @property
    def fingerprint(self) -> str:
        """Digest of everything above: two processes with the same version compute the same."""
        content = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(content).hexdigest()[:16]

    def wants(self, event_type: str) -> bool:
        """Say whether an event's type fits one of the patterns; `where` isn't asked."""
        return any(type_matches(pattern, event_type) for pattern in self.on)


class TaskEntry(_Stored):
    """A task's entry in the `TASKS` bucket: its newest definition, and when each version was first seen."""

    definition: TaskDefinition
    seen: dict[str, AwareDatetime]

    @classmethod
    def first(cls, definition: TaskDefinition, now: datetime) -> Self:
        """Return the entry of a task that is published for the first time."""
        return cls(definition=definition, seen={definition.fingerprint: now})

    def publish(self, definition: TaskDefinition, now: datetime, *, force: bool = False) -> Self:
        """Return the entry after a worker has published its definition at `now`.

        A version that was seen before changes nothing: this very object comes back. A new one takes over,
        also where the publisher's clock is behind: versions count in the order in which they arrive here.
        With `force` a version that was seen before takes over too, as if it were new.
        """
        fingerprint = definition.fingerprint
        if fingerprint in self.seen and not (force and fingerprint != self.definition.fingerprint):
            return self
        first_seen = max(now, max(self.seen.values()) + _TICK)
        newest = sorted(self.seen.items(), key=lambda item: item[1])[1 - _MAX_VERSIONS :]
        return self.model_copy(
            update={"definition": definition, "seen": {**dict(newest), fingerprint: first_seen}}
        )

    def to_json(self) -> bytes:
        """Return the entry as it is stored."""
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, stored: bytes) -> Self:
        """Read an entry back.

        Raises:
            DefinitionError: it isn't one that this version of the product understands.
        """
        try:
            return cls.model_validate_json(stored)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise DefinitionError(
                f"a stored task definition can't be read: {path_text(first['loc'], 'entry')}: {first['msg']}",
                hint="it was written by another version: update this process, or publish it again",
            ) from None
