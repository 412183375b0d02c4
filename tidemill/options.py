"""The options of `@task`, checked where they are written."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast, get_args

from tidemill.kernel.clock import Duration
from tidemill.kernel.definition import id_problem
from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.subjects import pattern_problem
from tidemill.kernel.where import compile_where
from tidemill.middleware import Middleware
from tidemill.retry import Retry, duration
from tidemill.schedule import Cron, parse_schedules
from tidemill.source import Place, calling_place

if TYPE_CHECKING:
    from collections.abc import Mapping


class TaskOptions(TypedDict, total=False):
    """Options of a task.

    Keys:
        id: stable name of the task, 1 to 64 letters, digits, `_`, `-`, `.`; the function's name by default.
        aliases: earlier ids, under which runs may still be waiting.
        on: pattern or patterns of event types that start a run: `github.push`, `github.issues.*`, `github.>`.
        where: CEL over `data type source tenant subject headers` that an event must fulfil besides.
        schedule: when runs start by themselves; one or several.
        retry: the retry policy; three attempts by default.
        concurrency: how many runs execute at the same time in the whole cluster.
        timeout: how long one attempt may execute, waits excluded.
        max_duration: how long a run may take in all, waits and retries included.
        middleware: async functions around every attempt, the first one outermost.
        executor: where a `def` handler is executed: in a `thread` (`auto` too) or a `process` of its own.
        reply: whether its runs answer the sender of their event with `ctx.reply`.
    """

    id: str
    aliases: Sequence[str]
    on: str | Sequence[str]
    where: str
    schedule: Cron | Sequence[Cron]
    retry: Retry
    concurrency: int
    timeout: Duration
    max_duration: Duration
    middleware: Sequence[Middleware]
    executor: Executor
    reply: bool


Executor = Literal["auto", "thread", "process"]
DEFAULT_RETRY: Final = Retry()
MOST_AT_ONCE: Final = 1_000_000
NAMES: Final = tuple(TaskOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class Options:
    """Options in the form in which the task's definition has them."""

    id: str | None = None
    aliases: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    where: str | None = None
    schedules: tuple[Cron, ...] = ()
    retry: Retry = DEFAULT_RETRY
    concurrency: int | None = None
    timeout: float | None = None
    max_duration: float | None = None
    middleware: tuple[Middleware, ...] = ()
    executor: Executor = "auto"
    reply: bool = False


def parse(given: Mapping[str, Any]) -> Options:
    """Check options and bring them into their form.

    Raises:
        DefinitionError: an option is unknown or its value can't be used; the error names file and line of
            the decorator.
    """
    place = calling_place()
    for name in given:
        if name not in NAMES:
            raise place.problem(f"@task has no option {name!r}", hint=_suggestion(name))
    return Options(
        id=_id(place, "id", given["id"]) if "id" in given else None,
        aliases=tuple(_id(place, "aliases", alias) for alias in _texts(place, "aliases", given)),
        on=tuple(_pattern(place, pattern) for pattern in _texts(place, "on", given)),
        where=_where(place, given.get("where")),
        schedules=parse_schedules(place, given.get("schedule", ())),
        retry=_retry(place, given.get("retry", DEFAULT_RETRY)),
        concurrency=_concurrency(place, given.get("concurrency")),
        timeout=_timeout(place, "timeout", given.get("timeout")),
        max_duration=_timeout(place, "max_duration", given.get("max_duration")),
        middleware=_middleware(place, given.get("middleware", ())),
        executor=_executor(place, given.get("executor", "auto")),
        reply=_reply(place, given.get("reply", False)),
    )


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it knows {', '.join(NAMES)}"


def _texts(place: Place, name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    value = given.get(name, ())
    texts = (value,) if isinstance(value, str) and name == "on" else value
    if (
        isinstance(texts, str)
        or not isinstance(texts, Sequence)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise place.problem(f"{name}={value!r} is no list of texts", hint=f'write {name}=["…", "…"]')
    if len(set(texts)) != len(texts):
        raise place.problem(f"{name}={value!r} names something twice", hint="name it once")
    return tuple(texts)


def _id(place: Place, option: str, value: object) -> str:
    problem = id_problem(value) if isinstance(value, str) else "a task id is text"
    if problem:
        raise place.problem(f"{option}: {value!r} is no task id", hint=problem)
    return str(value)


def _pattern(place: Place, pattern: str) -> str:
    if problem := pattern_problem(pattern):
        raise place.problem(
            f"on: {pattern!r} is no pattern: {problem}",
            hint="write an event type like 'github.push', with '*' for one part or '>' for the rest",
        )
    return pattern


def _where(place: Place, text: object) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise place.problem(f"where={text!r} is no text", hint="write a CEL expression as text")
    try:
        compile_where(text)
    except DefinitionError as error:
        raise place.problem(error.sentence, hint=error.hint) from None
    return text


def _retry(place: Place, value: object) -> Retry:
    if not isinstance(value, Retry):
        raise place.problem(f"retry={value!r} is no policy", hint="write retry=Retry(max_attempts=5)")
    return value


def _concurrency(place: Place, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_AT_ONCE:
        raise place.problem(
            f"concurrency={value!r} is no limit", hint=f"a whole number from 1 to {MOST_AT_ONCE}"
        )
    return value


def _timeout(place: Place, name: str, value: object) -> float | None:
    if value is None:
        return None
    limit = duration(name, value)
    if limit == 0:
        raise place.problem(f"{name}=0 lets nothing run", hint="leave it out for no limit")
    return limit


def _middleware(place: Place, value: object) -> tuple[Middleware, ...]:
    hint = "write middleware=[timed], with async def timed(run: RunInfo, call_next: CallNext)"
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise place.problem(f"middleware={value!r} is no list", hint=hint)
    for layer in value:
        call = layer if inspect.isroutine(layer) else getattr(type(layer), "__call__", None)  # noqa: B004 - the method itself is looked at
        if not inspect.iscoroutinefunction(call):
            raise place.problem(f"middleware: {layer!r} is no async function", hint=hint)
    return tuple(value)


def _executor(place: Place, value: object) -> Executor:
    if value not in get_args(Executor):
        raise place.problem(f"executor={value!r} is none", hint="it is 'auto', 'thread' or 'process'")
    return cast("Executor", value)


def _reply(place: Place, value: object) -> bool:
    if not isinstance(value, bool):
        raise place.problem(f"reply={value!r} is neither True nor False", hint="write reply=True")
    return value
