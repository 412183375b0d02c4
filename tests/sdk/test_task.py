from __future__ import annotations

import asyncio
import importlib.util
import inspect
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from tidemill.context import Context
from tidemill.event import Event
from tidemill.kernel.errors import DefinitionError
from tidemill.retry import Retry
from tidemill.run_context import Attempt
from tidemill.sync_context import SyncContext
from tidemill.task import FnTask, task


@dataclass
class Push:
    after: str
    ref: str = "main"


def load(folder: Path, source: str) -> ModuleType:
    path = folder / "handlers.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("handlers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HEAD = "from __future__ import annotations\nfrom tidemill import Context, Event, SyncContext, task\n"


@pytest.mark.parametrize(
    ("source", "line", "told", "hint"),
    [
        (
            "class Db: ...\n@task\ndef f(x: Db): ...",
            4,
            "the payload's annotation Db can't be built",
            "dataclass",
        ),
        (
            "class Db: ...\n@task\ndef f() -> Db: ...",
            4,
            "the result's annotation Db can't be built",
            "dataclass",
        ),
        (
            "@task\ndef f(x: Nope): ...",
            3,
            "an annotation of f can't be resolved: name 'Nope'",
            "TYPE_CHECKING",
        ),
        (
            "\n@task(\n  on='a')\ndef f(x, y): ...",
            4,
            "nothing would be passed for 'y'",
            "(payload, ctx: Context)",
        ),
        ("@task\ndef f(ctx: Context, x): ...", 3, "a def handler can't have a Context", "SyncContext"),
        ("@task\nasync def f(ctx: Context, x): ...", 3, "nothing would be passed for 'x'", "(ctx: Context)"),
        ("@task\nasync def f(ctx: SyncContext): ...", 3, "can't have a SyncContext", "annotate it Context"),
        ("@task\nasync def f(a: Context, b: Context): ...", 3, "one context at most", "(ctx: Context)"),
        (
            "@task\nasync def f(a: int, c: Context | None = None): ...",
            3,
            "or something else",
            "Context alone",
        ),
        ("@task\ndef f(*args): ...", 3, "a task can't have *args", "(payload)"),
        ("@task\ndef f(x, **more): ...", 3, "a task can't have **more", "(payload)"),
        ("@task\ndef f(*, x): ...", 3, "'x' can only be passed by name", "the payload goes first"),
        ("@task\nasync def f(x, y=1, c: Context = 0, /): ...", 3, "'c' can't be passed by name", "(payload)"),
        ("@task\ndef f(x):\n  yield 1", 3, "f yields", "returns its result"),
        ("@task\nasync def f(x):\n  yield 1", 3, "f yields", "returns its result"),
        ("@task\nclass F: ...", 3, "@task stands on type, not on a function", "def"),
        ("f = task(lambda x: x)", 3, "the function's name '<lambda>' is no task id", "id="),
        ("@task(aliases=['f'])\ndef f(x): ...", 3, "task 'f' is its own alias", "earlier names"),
        ("@task(where='data.x == 1')\ndef f(x): ...", 3, "where= but no event", "on="),
        ("@task(nope=1)\ndef f(x): ...", 3, "@task has no option 'nope'", "it knows"),
        ("@task(id='a')\n@task\ndef f(x): ...", 3, "@task stands on FnTask", "def"),
    ],
)
def test_a_function_that_cannot_be_a_task_fails_at_import_with_file_line_and_hint(
    tmp_path: Path, source: str, line: int, told: str, hint: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(tmp_path, HEAD + source)
    assert caught.value.sentence.startswith(f"{tmp_path}/handlers.py:{line}: ")
    assert told in caught.value.sentence
    assert hint in caught.value.hint


def test_the_definition_says_what_the_decorator_and_the_signature_say() -> None:
    @task(
        id="deploy",
        aliases=["ship"],
        on=["github.push"],
        where="data.ref == 'x'",
        retry=Retry(5),
        concurrency=2,
    )
    async def handler(push: Push, ctx: Context) -> int: ...

    definition = handler.definition
    assert (definition.id, definition.aliases, definition.on) == ("deploy", ("ship",), ("github.push",))
    assert (definition.where, definition.concurrency, definition.timeout) == ("data.ref == 'x'", 2, None)
    assert definition.retry.max_attempts == handler.retry.max_attempts == 5
    assert definition.takes == "payload"
    assert definition.payload_schema is not None
    assert definition.payload_schema["required"] == ["after"]
    assert (handler.id, handler.source_location.file) == ("deploy", __file__)


@pytest.mark.parametrize(
    ("source", "takes", "context", "schema"),
    [
        ("def f(): ...", "none", "none", None),
        ("async def f(ctx: Context): ...", "none", "async", None),
        ("def f(ctx: SyncContext): ...", "none", "sync", None),
        ("def f(x): ...", "payload", "none", None),
        ("def f(x: int, flag: bool = False): ...", "payload", "none", {"type": "integer"}),
        ("def f(x: int, /): ...", "payload", "none", {"type": "integer"}),
        ("async def f(x: int, ctx: Context, /): ...", "payload", "async", {"type": "integer"}),
        ("async def f(x: int, *, ctx: Context): ...", "payload", "async", {"type": "integer"}),
        ("def f(e: Event[int], ctx: SyncContext): ...", "event", "sync", {"type": "integer"}),
        ("def f(e: Event): ...", "event", "none", None),
    ],
)
def test_what_a_handler_takes_is_read_from_its_signature(
    tmp_path: Path, source: str, takes: str, context: str, schema: object
) -> None:
    found = load(tmp_path, f"{HEAD}@task\n{source}").f
    assert (found.definition.takes, found.signature.context) == (takes, context)
    assert found.definition.payload_schema == schema


def test_types_of_an_enclosing_function_are_found() -> None:
    @dataclass
    class Inner:
        number: int

    @task
    def double(given: Inner) -> Inner:
        return Inner(given.number * 2)

    assert double(Inner(2)) == Inner(4)
    assert double.definition.payload_schema is not None


def test_a_shared_decorator_carries_defaults_that_one_task_may_overrule() -> None:
    shared = task(retry=Retry(7), concurrency=3)
    careful = shared(concurrency=1)

    @shared
    def one(x: int) -> int: ...

    @careful(timeout=5)
    def two(x: int) -> int: ...

    @shared(retry=Retry(1))
    def three(x: int) -> int: ...

    policies = [
        (t.retry.max_attempts, t.definition.concurrency, t.definition.timeout) for t in (one, two, three)
    ]
    assert policies == [(7, 3, None), (7, 1, 5.0), (1, 3, None)]


def test_the_fingerprint_changes_with_options_and_with_code_and_with_nothing_else(tmp_path: Path) -> None:
    def fingerprint(source: str) -> str:
        found: FnTask[Any, Any, Any, Any] = load(tmp_path, HEAD + source).f
        return found.definition.fingerprint

    base = fingerprint("@task\ndef f(x): return 1")
    assert fingerprint("# moved down\n\n@task\ndef f(x): return 1") == base
    assert fingerprint("@task\ndef f(x): return 2") != base
    assert fingerprint("@task(concurrency=2)\ndef f(x): return 1") != base


def test_a_task_looks_like_its_function() -> None:
    @task
    def documented(x: int) -> int:
        """Say something."""
        return x

    assert (documented.__name__, documented.__doc__, documented.__module__) == (
        "documented",
        "Say something.",
        __name__,
    )
    assert list(inspect.signature(documented).parameters) == ["x"]
    assert f"<task 'documented' at {__file__}:" in repr(documented)


async def test_a_task_without_a_context_is_a_plain_function() -> None:
    @task
    def plain(push: Push, *, loud: bool = False) -> str:
        return push.after.upper() if loud else push.after

    @task
    async def later(push: Push) -> str:
        await asyncio.sleep(0)
        return push.after

    assert plain(Push("a"), loud=True) == "A"
    assert await later(push=Push("b")) == "b"


@task
async def wants_context(push: Push, ctx: Context) -> str:
    return f"{push.after} {ctx.run_id}"


@task
def wants_event(event: Event[dict[str, int]]) -> int:
    return event.data["n"]


@task
def stops(ctx: SyncContext) -> NoReturn:
    raise KeyError(ctx.run_id)


def test_outside_of_a_run_a_missing_context_or_event_is_a_type_error_that_points_to_trigger() -> None:
    calls: list[Any] = [lambda: wants_context(Push("a")), lambda: wants_event({"n": 1}), stops]
    for call, name in zip(calls, ["wants_context", "wants_event", "stops"], strict=True):
        with pytest.raises(TypeError, match=rf"task '{name}' needs .* start a run with {name}\.trigger"):
            call()


async def test_a_context_or_an_event_that_is_passed_is_used() -> None:
    context = Context(Attempt("run_x", "other"))
    assert await wants_context(Push("a"), context) == "a run_x"
    assert await wants_context(Push("a"), ctx=context) == "a run_x"


def test_wrong_arguments_are_told_as_of_any_function() -> None:
    call: Any = wants_context
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        call(nope=1)
