from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tidemill.context import Context
from tidemill.event import Event
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError
from tidemill.run_context import Attempt
from tidemill.sync_context import SyncContext
from tidemill.task import task

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ATTEMPT = Attempt("run_a", "t", 2, lambda: NOW)


class Commit(BaseModel):
    id: str


class Push(BaseModel):
    ref: str
    head_commit: Commit


@dataclass
class Line:
    at: datetime


@dataclass
class Report:
    lines: list[Line]


RAW = b'{ "ref":"main",  "head_commit":{"id":"f00"}, "more": [1] }'


def facts(**attributes: Any) -> dict[str, Any]:
    given = {"id": "1", "source": "github", "type": "github.push", "time": NOW, "headers": {"x-a": "b"}}
    return Envelope(**given, **attributes).facts()


@task
async def whole(event: Event[Push], ctx: Context) -> str:
    assert ctx.event is event
    return event.data.head_commit.id


@task
async def data(push: Push, ctx: Context) -> str:
    assert ctx.event is not None
    return f"{push.ref} {ctx.event.data['more']} {ctx.event.type} {ctx.attempt}"


@task
def blocking(push: Push, ctx: SyncContext) -> str:
    return f"{push.ref} {threading.current_thread().name} {ctx.run_id}"


@task
def bare() -> None: ...


@task
async def report(ctx: Context) -> Report: ...


async def test_an_event_run_gets_the_data_and_the_context_shows_the_event() -> None:
    call = data.bind(facts(), RAW, None, ATTEMPT)
    assert call.is_async
    assert await call.invoke() == "main [1] github.push 2"


async def test_a_handler_that_asks_for_the_event_gets_exactly_its_bytes_and_headers() -> None:
    call = whole.bind(facts(subject="repo"), RAW, None, ATTEMPT)
    (event,) = call._args
    assert isinstance(event, Event)
    assert (event.raw, event.headers, event.subject, event.time) == (RAW, {"x-a": "b"}, "repo", NOW)
    assert isinstance(event.data, Push)
    assert await call.invoke() == "f00"


def test_a_sync_handler_runs_where_it_is_called() -> None:
    call = blocking.bind(facts(), RAW, None, ATTEMPT)
    assert not call.is_async
    assert call.invoke() == "main MainThread run_a"


def test_data_that_is_no_json_of_the_body_comes_from_the_envelope() -> None:
    @task
    def text(e: Event[dict[str, str]]) -> str:
        return e.data["text"] + e.raw.decode()

    call = text.bind(facts(value={"text": "hi "}), b"text=hi", None, ATTEMPT)
    assert call.invoke() == "hi text=hi"


def test_an_event_whose_body_is_no_json_reaches_whoever_asks_for_no_data_in_particular() -> None:
    @task
    def bytes_of(event: Event, ctx: SyncContext) -> object:  # type: ignore[type-arg] # the point
        assert ctx.event is not None
        return event.data, event.raw, ctx.event.data

    assert bytes_of.bind(facts(), b"\xffno json", None, ATTEMPT).invoke() == (None, b"\xffno json", None)

    @task
    def typed(event: Event[dict[str, str]]) -> None: ...

    with pytest.raises(PayloadError, match="Invalid JSON"):
        typed.bind(facts(), b"\xffno json", None, ATTEMPT)


@pytest.mark.parametrize(
    ("raw", "payload"), [(RAW, None), (None, {"ref": "main", "head_commit": {"id": "f00"}})]
)
def test_a_trigger_gives_its_payload_and_there_is_no_event(raw: bytes | None, payload: object) -> None:
    @task
    async def echo(push: Push, ctx: Context) -> tuple[str, object]: ...

    call = echo.bind(None, raw, payload, ATTEMPT)
    (push,) = call._args
    assert push == Push(ref="main", head_commit=Commit(id="f00"))
    context = call._kwargs["ctx"]
    assert isinstance(context, Context)
    assert context.event is None


def test_a_trigger_of_a_task_that_takes_an_event_is_an_event_of_its_own() -> None:
    payload = {"ref": "main", "head_commit": {"id": "f00"}}
    (event,) = whole.bind(None, None, payload, ATTEMPT)._args
    assert isinstance(event, Event)
    assert (event.id, event.type, event.source, event.time) == (
        "run_a",
        "tidemill.triggered",
        "tidemill",
        NOW,
    )
    assert orjson.loads(event.raw) == payload
    (event,) = whole.bind(None, RAW, None, ATTEMPT)._args
    assert isinstance(event, Event)
    assert event.raw == RAW


def test_a_handler_without_parameters_ignores_what_came() -> None:
    assert bare.bind(facts(), b"{}", None, ATTEMPT).invoke() is None
    assert bare.bind(None, None, None, ATTEMPT).encode_result(None) == b"null"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"ref":"main","head_commit":{}}', "head_commit.id: Field required"),
        (b'{"ref":5,"head_commit":{"id":"a"}}', "ref: Input should be a valid string"),
        (b"[", "payload: Invalid JSON"),
        (b"", "payload: "),
    ],
)
def test_input_that_does_not_fit_names_the_field(raw: bytes, told: str) -> None:
    for bound in (data, whole, blocking):
        with pytest.raises(PayloadError) as caught:
            bound.bind(facts(), raw, None, ATTEMPT)
        assert told in caught.value.sentence


def test_a_result_is_written_by_the_return_annotation() -> None:
    call = report.bind(None, None, None, ATTEMPT)
    assert call.encode_result(Report([Line(NOW)])) == b'{"lines":[{"at":"2026-11-22T12:00:00Z"}]}'
    wrong: Any = Report([Line(NOW), Line("soon")])  # type: ignore[arg-type]  # the point
    with pytest.raises(PayloadError, match=r"result.lines\[1\].at: "):
        call.encode_result(wrong)
    wrong.lines[1] = object()
    with pytest.raises(PayloadError, match=r"result.lines\[1\]: object has no JSON form"):
        call.encode_result(wrong)


async def test_a_coroutine_that_a_wrapper_left_unawaited_is_named() -> None:
    def wrapper(function: Callable[..., Coroutine[Any, Any, int]]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any) -> Any:
            return function(*args)

        return inner

    @task
    @wrapper
    async def wrapped(x: int) -> int:
        return x

    call = wrapped.bind(None, b"5", None, ATTEMPT)
    assert not call.is_async
    with pytest.raises(PayloadError, match="a coroutine that nobody awaited"):
        call.encode_result(call.invoke())


@pytest.mark.parametrize(
    "source",
    [
        "async def f(x: int, ctx: Context, /): return x, ctx",
        "async def f(x: int, *, ctx: Context, flag: bool = True): return x, ctx",
        "async def f(x: int, flag: bool = True, ctx: Context = None): return x, ctx",
        "async def f(x, /, ctx: Context): return x, ctx",
    ],
)
async def test_payload_and_context_find_their_parameters(source: str) -> None:
    space: dict[str, Any] = {"Context": Context}
    exec(source, space)
    bound = task(space["f"]).bind(None, b"5", None, ATTEMPT)
    number, context = await bound.invoke()
    assert number == 5
    assert isinstance(context, Context)


@given(st.binary(max_size=50))
def test_any_bytes_either_bind_or_are_refused(raw: bytes) -> None:
    with contextlib.suppress(PayloadError):
        (push,) = data.bind(facts(), raw, None, ATTEMPT)._args
        assert isinstance(push, Push)
