from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from tidemill import http_transport
from tidemill.http_transport import HttpTransport
from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import (
    ConflictError,
    ControlError,
    ExpiredError,
    NotAllowedError,
    NotFoundError,
    PayloadError,
    SettingsError,
    TidemillError,
)
from tidemill.kernel.trigger import TriggerRequest, parse_request
from tidemill.transport import RunOutcome

Answers = Callable[[httpx.Request], httpx.Response]


def transport(answer: Answers, key: str | None = None) -> HttpTransport:
    return HttpTransport("http://control:8081/", key, httpx.MockTransport(answer))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the transport would have slept between its questions."""
    taken: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        taken.append(seconds)
        await sleep(0)

    monkeypatch.setattr(http_transport.asyncio, "sleep", note)
    return taken


async def test_a_trigger_posts_payload_options_and_key_and_returns_the_run() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"run_id": "run_a", "status": "queued"})

    options = {"idempotency_key": "k", "at": datetime(2026, 12, 1, tzinfo=UTC), "tags": ["x"]}
    request = parse_request("a.b", b'{"n":1}', options)
    assert await transport(answer, "secret").trigger(request) == "run_a"
    (sent,) = seen
    assert (sent.method, str(sent.url)) == ("POST", "http://control:8081/api/v1/tasks/a.b/trigger")
    assert sent.headers["idempotency-key"] == "k"
    assert sent.headers["authorization"] == "Bearer secret"
    assert sent.headers["content-type"] == "application/json"
    expected = {"payload": {"n": 1}, "options": {"at": "2026-12-01T00:00:00Z", "tags": ["x"]}}
    assert orjson.loads(sent.content) == expected


@pytest.mark.parametrize(
    ("response", "kind", "told", "hint"),
    [
        (
            httpx.Response(404, json={"detail": "no task 'a'", "hint": "tasks list"}),
            NotFoundError,
            "no task 'a'",
            "tasks list",
        ),
        (httpx.Response(409, json={"title": "ended"}), ConflictError, "ended", ""),
        (httpx.Response(422, json={"detail": "n: wrong"}), PayloadError, "n: wrong", ""),
        (httpx.Response(413, text="too large"), PayloadError, "HTTP 413", ""),
        (httpx.Response(401, json={"detail": "key"}), SettingsError, "key", "TIDEMILL_CLIENT__KEY"),
        (httpx.Response(503, json={"detail": "broker away"}), ControlError, "broker away", ""),
        (httpx.Response(200, text="<html>"), ControlError, "HTTP 200", ""),
        (httpx.Response(202, json={"id": "x"}), ControlError, "has no 'run_id'", "control listener"),
    ],
)
async def test_a_refusal_becomes_the_error_that_it_stands_for(
    response: httpx.Response, kind: type[TidemillError], told: str, hint: str
) -> None:
    with pytest.raises(kind) as caught:
        await transport(lambda _: response).trigger(TriggerRequest("a", b"null"))
    assert told in caught.value.sentence
    assert hint in caught.value.hint


async def test_signals_and_answers_are_posted_with_their_keys() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"answer": "done"})

    over = transport(answer)
    await over.send_signal("run_a", "go/on", b"[1]", "k")
    await over.send_answer("run_a.ship it", Decision("ann", comment="go"))
    signal, decision = seen
    assert str(signal.url) == "http://control:8081/api/v1/runs/run_a/signals/go%2Fon"
    assert (signal.content, signal.headers["idempotency-key"]) == (b'{"data":[1]}', "k")
    assert str(decision.url) == "http://control:8081/api/v1/tokens/run_a.ship%20it/complete"
    assert orjson.loads(decision.content) == {"by": "ann", "approved": True, "comment": "go", "data": None}
    assert "idempotency-key" not in decision.headers


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (403, "urn:tidemill:problem:not-allowed", NotAllowedError),
        (403, "urn:tidemill:problem:role", SettingsError),
        (410, "urn:tidemill:problem:expired", ExpiredError),
        (409, "urn:tidemill:problem:conflict", ConflictError),
    ],
)
async def test_an_answer_that_isnt_taken_raises_why(
    status: int, kind: str, error: type[TidemillError]
) -> None:
    refused = httpx.Response(status, json={"type": kind, "detail": "no", "hint": "ask"})
    with pytest.raises(error) as caught:
        await transport(lambda _: refused).send_answer("run_a.ship", Decision("ann"))
    assert type(caught.value) is error


async def test_a_listener_that_is_not_there_is_named_and_the_trigger_is_not_repeated() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectError("refused")

    with pytest.raises(ControlError, match="POST http://control:8081/api/v1/tasks/a/trigger failed: refused"):
        await transport(answer).trigger(TriggerRequest("a", b"null"))
    assert len(asked) == 1


def states(*answers: dict[str, Any] | int) -> Answers:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/v1/runs/run_a"
        given = left.pop(0)
        return httpx.Response(given) if isinstance(given, int) else httpx.Response(200, json=given)

    return answer


async def test_the_outcome_is_asked_for_less_and_less_often_until_the_run_has_ended(
    pauses: list[float],
) -> None:
    waiting = [{"status": state} for state in ("delayed", "queued", "running", "waiting", "parked")] * 4
    answers = states(*waiting, {"status": "completed", "result": {"n": [1]}})
    outcome = await transport(answers).outcome("run_a", None)
    assert outcome == RunOutcome("completed", b'{"n":[1]}')
    assert pauses == sorted(pauses)
    assert (len(pauses), pauses[0], pauses[-1]) == (20, 0.05, 2.0)


async def test_a_failed_run_brings_its_error() -> None:
    answers = states({"status": "failed", "error": {"type": "KeyError", "message": "'x'"}})
    outcome = await transport(answers).outcome("run_a", None)
    assert outcome == RunOutcome("failed", b"null", "'x'", "KeyError")


async def test_a_listener_that_restarts_is_waited_for(pauses: list[float]) -> None:
    answers = states(503, 502, {"status": "running"}, 503, 503, 503, 503, {"status": "completed"})
    assert (await transport(answers).outcome("run_a", None)).state == "completed"
    assert len(pauses) == 7


async def test_a_listener_that_stays_away_is_given_up_on(pauses: list[float]) -> None:
    with pytest.raises(ControlError):
        await transport(states(*[503] * 5)).outcome("run_a", None)
    assert len(pauses) == 4


async def test_an_outcome_that_does_not_come_in_time_is_a_timeout() -> None:
    with pytest.raises(TimeoutError, match="run run_a hasn't ended in time; it goes on"):
        await transport(lambda _: httpx.Response(200, json={"status": "running"})).outcome("run_a", 0)


async def test_a_cancellation_carries_its_reason() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202, json={"run_id": "run_a", "status": "cancelling"})

    await transport(answer).cancel("run_a", "superseded")
    assert seen[0].url.path == "/api/v1/runs/run_a/cancel"
    assert orjson.loads(seen[0].content) == {"reason": "superseded"}


async def test_open_keeps_one_connection_for_many_requests() -> None:
    """Over a real socket: the server counts its connections."""
    opened: list[asyncio.StreamWriter] = []
    closed: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        body = b'{"run_id":"run_a"}'
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()
            await writer.wait_closed()
            closed.put_nowait(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reached = HttpTransport(f"http://127.0.0.1:{port}")
        for _ in range(2):
            assert await reached.trigger(TriggerRequest("t", b"1")) == "run_a"
        assert len(opened) == 2
        await reached.open()
        for _ in range(3):
            assert await reached.trigger(TriggerRequest("t", b"1")) == "run_a"
        await reached.close()
        assert {await closed.get() for _ in range(3)} == set(opened)
