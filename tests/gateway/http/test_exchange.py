"""One request and its answer: what applications send on a connection, and what clients see of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.connection import PIECE

if TYPE_CHECKING:
    from conftest import Connect, Wire

    from gateway.listener import Listener

Application = Callable[[Any, Any, Any], Awaitable[None]]
Serve = Callable[[Application], Awaitable["Listener"]]
START = "http.response.start"
BODY = "http.response.body"
GET = b"GET /a%20b?c=%20d HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"


def answering(status: int = 200, fields: tuple[Any, ...] = (), *pieces: bytes) -> Application:
    """Return an application that answers in pieces."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": START, "status": status, "headers": fields})
        for piece in pieces[:-1]:
            await send({"type": BODY, "body": piece, "more_body": True})
        await send({"type": BODY, "body": pieces[-1] if pieces else b""})

    return application


@pytest.fixture
async def serve(listening: Callable[..., Any]) -> AsyncIterator[Serve]:
    """Serves an application on a listener of its own."""
    async with contextlib.AsyncExitStack() as opened:

        async def start(application: Application) -> Listener:
            async def app(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] == "lifespan":
                    for word in ("startup", "shutdown"):
                        await receive()
                        await send({"type": f"lifespan.{word}.complete"})
                else:
                    await application(scope, receive, send)

            listener: Listener = await opened.enter_async_context(listening(app, []))
            return listener

        yield start


async def rest(wire: Wire) -> bytes:
    """Read to the end of the connection."""
    async with asyncio.timeout(10):
        return await wire.reader.read()


def reset(wire: Wire) -> None:
    """Break the connection off; who closes it in order may still want the answer."""
    wire.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    wire.writer.transport.abort()


async def test_an_application_sees_what_came(serve: Serve, connect: Connect) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.extend((scope, await receive()))
        scope["state"]["mine"] = 1
        await answering(204)(scope, receive, send)

    listener = await serve(application)
    wire = await connect(listener.address)
    await wire.send(GET)
    assert (await wire.reply()).status == 204
    scope, message = seen
    shown = ("type", "http_version", "method", "scheme", "path", "raw_path", "query_string", "root_path")
    assert [scope[name] for name in shown] == [
        "http", "1.1", "GET", "http", "/a b", b"/a%20b", b"c=%20d", "",
    ]  # fmt: skip
    assert (scope["headers"], scope["client"][0]) == ([(b"host", b"a")], "127.0.0.1")
    assert message == {"type": "http.request", "body": b"", "more_body": False}
    await wire.send(GET)
    assert (await wire.reply()).status == 204
    assert seen[2]["state"] == {"mine": 1}, "the application put it there after this request began"
    assert seen[2]["state"] is not scope["state"]


async def test_pieces_of_a_body_come_as_they_arrive(serve: Serve, connect: Connect) -> None:
    taken: list[Any] = []
    news = asyncio.Event()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        while not taken or taken[-1][1]:
            message = await receive()
            taken.append((message["body"], message["more_body"]))
            news.set()
        await answering(200, ((b"content-length", b"0"),))(_scope, receive, send)

    listener = await serve(application)
    wire = await connect(listener.address)
    await wire.send(POST + b"expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(10):
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(b"abc")
        await news.wait()
    await wire.send(b"de")
    assert (await wire.reply()).status == 200
    assert b"".join(body for body, _ in taken) == b"abcde"
    assert [more for _, more in taken] == [*[True] * (len(taken) - 1), False]


async def test_an_answer_of_unknown_length_is_chunked_and_its_head_goes_ahead(
    serve: Serve, connect: Connect
) -> None:
    release = asyncio.Event()

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": START, "status": 200, "headers": [(b"X-Kind", b"stream")]})
        await release.wait()
        await send({"type": BODY, "body": b"abc", "more_body": True})
        await send({"type": BODY, "body": b"", "more_body": True})
        await send({"type": BODY, "body": b"d" * 17})

    listener = await serve(application)
    wire = await connect(listener.address)
    await wire.send(GET)
    head = await wire.reply()
    assert (head.headers["transfer-encoding"], head.headers["x-kind"]) == ("chunked", "stream")
    release.set()
    async with asyncio.timeout(10):
        assert await wire.reader.readuntil(b"0\r\n\r\n") == (
            b"3\r\nabc\r\n11\r\n" + b"d" * 17 + b"\r\n0\r\n\r\n"
        )
    await wire.send(GET)  # the connection stays
    assert (await wire.reply()).status == 200


async def test_a_client_of_http_1_0_gets_a_body_without_chunks(serve: Serve, connect: Connect) -> None:
    listener = await serve(answering(200, (), b"abc", b"def"))
    wire = await connect(listener.address)
    await wire.send(b"GET / HTTP/1.0\r\n\r\n")
    head = await wire.reply()
    assert "transfer-encoding" not in head.headers
    assert head.headers["connection"] == "close"
    assert await rest(wire) == b"abcdef"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_an_answer_without_a_body(serve: Serve, connect: Connect, method: str, status: int) -> None:
    fields = () if status == 204 else ((b"content-length", b"3"),)
    listener = await serve(answering(status, fields, b"" if method == "GET" else b"abc"))
    wire = await connect(listener.address)
    for _ in range(2):
        await wire.send(f"{method} / HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        head = await wire.reply(without_body=True)
        assert head.status == status
        assert head.headers.get("content-length") == (None if status == 204 else "3")
        assert "transfer-encoding" not in head.headers


async def test_an_application_may_close(serve: Serve, connect: Connect) -> None:
    fields = ((b"content-length", b"2"), (b"connection", b"close"), (b"transfer-encoding", b"chunked"))
    listener = await serve(answering(299, fields, b"ok"))
    wire = await connect(listener.address)
    await wire.send(GET)
    reply = await wire.reply()
    assert (reply.status, reply.body, reply.headers["connection"]) == (299, b"ok", "close")
    assert "transfer-encoding" not in reply.headers
    assert await wire.at_end()


@pytest.mark.parametrize(
    "field",
    [
        (b"x", b"1\r\nset-cookie: a"),
        (b"x", b"1\nb"),
        (b"x", b"\x00"),
        (b"x y", b"1"),
        (b"x\r\ny", b"1"),
        (b"", b"1"),
        (b"x", b"1\r\n\r\n<script>"),
    ],
)
async def test_a_field_that_breaks_the_head_isnt_sent(
    serve: Serve, connect: Connect, field: tuple[bytes, bytes]
) -> None:
    listener = await serve(answering(200, (field, (b"content-length", b"2")), b"ok"))
    wire = await connect(listener.address)
    await wire.send(GET)
    reply = await wire.reply()
    assert (reply.status, reply.headers["content-type"]) == (500, "application/problem+json")
    assert not {"set-cookie", "x"} & reply.headers.keys()
    assert await wire.at_end()


@pytest.mark.parametrize("pieces", [(b"abc",), (b"a", b"")])
async def test_a_body_of_another_length_than_its_head_says_isnt_passed_off(
    serve: Serve, connect: Connect, pieces: tuple[bytes, ...]
) -> None:
    listener = await serve(answering(200, ((b"content-length", b"2"),), *pieces))
    wire = await connect(listener.address)
    await wire.send(GET)
    got = await rest(wire)
    head, _, body = got.partition(b"\r\n\r\n")
    whole = b"content-length: 2" in head and len(body) == 2
    assert not whole
    assert head.startswith(b"HTTP/1.1 500") or len(body) < 2


async def test_an_application_that_fails_is_500_before_its_head_and_an_end_behind_it(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": START, "status": 200, "headers": []})
        raise ValueError("no")

    listener = await serve(application)
    early, late = await connect(listener.address), await connect(listener.address)
    await early.send(GET)
    reply = await early.reply()
    assert (reply.status, reply.json()["type"]) == (500, "urn:tidemill:problem:internal")
    assert await early.at_end()
    await late.send(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n")
    assert (await late.reply()).status == 200
    assert await late.at_end()
    logged = [record for record in caplog.records if record.name == "gateway.exchange"]
    assert [record.exc_info is not None for record in logged] == [True, True]


async def test_an_application_that_says_nothing_is_500(serve: Serve, connect: Connect) -> None:
    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    wire = await connect((await serve(application)).address)
    await wire.send(GET)
    assert (await wire.reply()).status == 500


async def test_an_application_sends_in_turn(serve: Serve, connect: Connect) -> None:
    problems: list[str] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        for message in (
            {"type": BODY, "body": b""},
            {"type": START, "status": 200, "headers": [(b"content-length", b"0")]},
            {"type": START, "status": 200},
            {"type": BODY},
            {"type": BODY},
        ):
            try:
                await send(message)
            except RuntimeError as error:
                problems.append(str(error))

    wire = await connect((await serve(application)).address)
    await wire.send(GET)
    assert (await wire.reply()).status == 200
    assert len(problems) == 3


async def test_requests_that_come_together_are_answered_one_after_another(
    serve: Serve, connect: Connect
) -> None:
    order: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        order.append(f"+{scope['path']}")
        await asyncio.sleep(0)
        order.append(f"-{scope['path']}")
        await answering(200, ((b"content-length", b"%d" % len(body)),), body)(scope, receive, send)

    wire = await connect((await serve(application)).address)
    requests = b"".join(
        b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n%d" % (number, number)
        for number in range(5)
    )
    await wire.send(requests)
    assert [(await wire.reply()).body for _ in range(5)] == [b"%d" % number for number in range(5)]
    assert order == [f"{sign}/{number}" for number in range(5) for sign in "+-"]


async def test_requests_that_wait_stay_few(serve: Serve, connect: Connect) -> None:
    """Each takes more memory than its bytes: a client that sends them without an end has to wait itself."""
    waited, total = 0, 20_000
    listener: Listener

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal waited
        (connection,) = listener.server_state.connections
        waited = max(waited, len(connection._queue))  # type: ignore[union-attr] # a Connection's
        await answering(204)(scope, receive, send)

    listener = await serve(application)
    wire = await connect(listener.address)

    async def count() -> int:
        found, rest = 0, b""
        while found < total:
            rest += await wire.reader.read(1 << 16)
            found += rest.count(b"HTTP/1.1 204")
            rest = rest[rest.rfind(b"HTTP/1.1 204") + 1 :]
        return found

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        await wire.send(b"GET / HTTP/1.1\r\nhost:a\r\n\r\n" * total)
    assert counting.result() == total
    assert 0 < waited <= PIECE // 20


async def test_trailers_arent_kept(serve: Serve, connect: Connect) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            begun.set()
        await release.wait()
        await answering(204)(scope, receive, send)

    listener = await serve(application)
    wire = await connect(listener.address)
    await wire.send(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    async with asyncio.timeout(10):
        await begun.wait()
        (connection,) = listener.server_state.connections
        await wire.send(b"a: b\r\n" * 1000 + b"\r\n")
        release.set()
        assert (await wire.reply()).status == 204
    assert len(connection.headers) == 2  # type: ignore[union-attr] # a Connection's


async def test_who_waits_to_go_on_is_told_nothing_behind_a_refusal(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()

    wire = await connect((await serve(application)).address)
    head = b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    await wire.send(head + b"no chunk\r\n")
    got = await rest(wire)
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b"100 Continue" not in got
    assert not caplog.records


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked", 501),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked", 501),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity", 501),
        (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked", 501),
        (b"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked", 204),
        (b"POST / HTTP/2.0\r\nhost: a\r\ncontent-length: 0", 505),
    ],
)
async def test_a_body_comes_in_chunks_or_plain(
    serve: Serve, connect: Connect, head: bytes, status: int
) -> None:
    wire = await connect((await serve(answering(204))).address)
    await wire.send(head + b"\r\n\r\n0\r\n\r\n")
    assert (await wire.reply()).status == status


async def test_an_application_learns_that_its_client_has_gone(serve: Serve, connect: Connect) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def application(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await begun.put("begun")
        await begun.put((await receive())["type"])
        await send({"type": START, "status": 200})  # nobody is there: nothing happens

    wire = await connect((await serve(application)).address)
    await wire.send(GET)
    async with asyncio.timeout(10):
        assert await begun.get() == "begun"
        reset(wire)
        assert await begun.get() == "http.disconnect"


async def test_who_reads_on_behind_an_answer_is_told_that_it_is_over(serve: Serve, connect: Connect) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        reading = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await answering(200, ((b"content-length", b"0"),))(scope, receive, send)
        await told.put((await reading)["type"])

    wire = await connect((await serve(application)).address)
    await wire.send(GET)
    assert (await wire.reply()).status == 200
    async with asyncio.timeout(10):
        assert await told.get() == "http.disconnect"


async def test_a_slow_reader_holds_the_application_up(serve: Serve, connect: Connect) -> None:
    """What an answer's reader doesn't take stays in the application, not in memory."""
    sent, total = 0, 4000

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": START, "status": 200})
        for number in range(total):
            await send({"type": BODY, "body": b"x" * 16384, "more_body": number < total - 1})
            sent += 1
            await asyncio.sleep(0)

    wire = await connect((await serve(application)).address)
    await wire.send(GET)
    before = -1
    async with asyncio.timeout(20):
        while sent != before or not sent:
            before = sent
            await asyncio.sleep(0.1)
    assert sent < total
    async with asyncio.timeout(20):
        while await wire.reader.read(1 << 20):
            if sent == total:
                break
    assert sent == total


async def test_a_body_that_isnt_read_stays_with_the_client(serve: Serve, connect: Connect) -> None:
    release = asyncio.Event()
    held: list[int] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        size, more = 0, True
        while more:
            message = await receive()
            held.append(len(message["body"]))
            size, more = size + len(message["body"]), message["more_body"]
        await answering(200, ((b"content-length", b"0"), (b"x-size", b"%d" % size)))(scope, receive, send)

    wire = await connect((await serve(application)).address)
    size = 64 << 20
    await wire.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size)
    writing = asyncio.ensure_future(wire.send(b"x" * size))
    done, _ = await asyncio.wait({writing}, timeout=0.3)
    assert not done
    release.set()
    assert (await wire.reply()).headers["x-size"] == str(size)
    await writing
    assert held[0] < 4 << 20


async def test_too_many_connections_are_turned_away(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = await serve(answering(200, ((b"content-length", b"0"),)))
    monkeypatch.setattr(listener.config, "limit_concurrency", 2)
    first, second = await connect(listener.address), await connect(listener.address)
    await second.send(GET)
    reply = await second.reply()
    assert (reply.status, reply.json()["type"]) == (503, "urn:tidemill:problem:busy")
    assert reply.headers["retry-after"]
    assert await second.at_end()
    await first.send(GET)
    assert (await first.reply()).status == 200


async def test_an_idle_connection_is_closed_and_a_busy_one_isnt(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/busy":
            await release.wait()
        await answering(200, ((b"content-length", b"0"),))(scope, receive, send)

    listener = await serve(application)
    monkeypatch.setattr(listener.config, "timeout_keep_alive", 0.1)
    idle, busy = await connect(listener.address), await connect(listener.address)
    await busy.send(b"GET /busy HTTP/1.1\r\nhost: a\r\n\r\n")
    await idle.send(GET)
    assert (await idle.reply()).status == 200
    assert await idle.at_end()
    release.set()
    assert (await busy.reply()).status == 200


async def test_a_client_that_takes_nothing_is_cut_off(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = asyncio.Event()

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": START, "status": 200})
        for _ in range(4000):
            await send({"type": BODY, "body": b"x" * 16384, "more_body": True})
        given_up.set()

    listener = await serve(application)
    monkeypatch.setattr(listener.config, "timeout_keep_alive", 0.1)
    wire = await connect(listener.address)
    await wire.send(GET)
    async with asyncio.timeout(20):
        await given_up.wait()
    assert not listener.server_state.connections


async def test_stopping_lets_an_answer_come_to_its_end(serve: Serve, connect: Connect) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await release.wait()
        await answering(200, ((b"content-length", b"2"),), b"ok")(scope, receive, send)

    listener = await serve(application)
    busy, idle = await connect(listener.address), await connect(listener.address)
    await busy.send(GET)
    await begun.wait()
    for connection in list(listener.server_state.connections):
        connection.shutdown()
    assert await idle.at_end()
    release.set()
    reply = await busy.reply()
    assert (reply.body, reply.headers["connection"]) == (b"ok", "close")
    assert await busy.at_end()


async def test_a_connection_that_has_ended_leaves_nothing_behind(serve: Serve, connect: Connect) -> None:
    """No circle of references: the collector of a gateway seldom runs."""
    listener = await serve(answering(200, ((b"content-length", b"0"),)))
    wire = await connect(listener.address)
    await wire.send(GET)
    assert (await wire.reply()).status == 200
    (connection,) = listener.server_state.connections
    kept = weakref.ref(connection)
    del connection
    gc.disable()
    try:
        await wire.close()
        async with asyncio.timeout(10):
            while kept() is not None:  # noqa: ASYNC110 - the end of a reference sets no event
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
