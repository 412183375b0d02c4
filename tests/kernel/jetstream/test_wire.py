"""What the broker sends arrives whole and in order, wherever it is cut; what is sent can't break a line."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import (
    BadHeaderError,
    BadSubjectError,
    MaxPayloadError,
    OutboundBufferLimitError,
    ProtocolError,
)

from tidemill.kernel.jetstream.message import Message, read_headers
from tidemill.kernel.jetstream.wire import WireClient, _head

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

subjects = st.from_regex(r"[A-Za-z0-9$_-]{1,8}(\.[A-Za-z0-9$_-]{1,8}){0,3}", fullmatch=True)
names = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)
heads = st.dictionaries(names, values, min_size=1, max_size=4)
messages = st.tuples(subjects, st.binary(max_size=60), st.none() | heads, st.just("") | subjects)


def told(subject: str, body: bytes, headers: dict[str, str] | None, reply: str) -> bytes:
    """Return a message as the broker sends it to subscription 7."""
    words = f"{subject} 7 {reply}".rstrip()
    if headers is None:
        return f"MSG {words} {len(body)}\r\n".encode() + body + b"\r\n"
    head = _head(headers)
    return f"HMSG {words} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n"


def listening() -> tuple[WireClient, list[Message], list[str]]:
    client, got, said = WireClient(), list[Message](), list[str]()
    client.handlers[7] = got.append

    async def ping() -> None:
        said.append("ping")

    async def fault(error: str) -> None:
        said.append(error)

    client._process_ping = ping  # type: ignore[method-assign]
    client._process_err = fault  # type: ignore[method-assign]
    return client, got, said


async def read(client: WireClient, data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        await client._ps.parse(data[start:end])


@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 2000), max_size=12))
async def test_messages_arrive_whole_and_in_order(sent: list[Any], cuts: list[int]) -> None:
    client, got, said = listening()
    lines = [told(*one) for one in sent]
    await read(client, b"PING\r\n".join([*lines, b""]) + b"+OK\r\n-ERR 'Slow'\r\n", cuts)
    assert [(one.subject, one.body, one.headers, one.reply) for one in got] == sent
    assert said == ["ping"] * len(sent) + ["'slow'"]


async def test_a_large_message_is_joined_once() -> None:
    client, got, _ = listening()
    data = told("a", b"x" * 1_000_000, None, "")
    for start in range(0, len(data), 32_768):
        await client._ps.parse(data[start : start + 32_768])
    assert [len(one.body) for one in got] == [1_000_000]


async def test_messages_of_nobody_are_dropped() -> None:
    client, got, _ = listening()
    await client._ps.parse(b"MSG a 8 2\r\nhi\r\nMSG a 7 2\r\nho\r\n")
    assert [one.body for one in got] == [b"ho"]


async def test_a_handler_that_fails_is_told_of_and_the_next_message_comes() -> None:
    client, got, _ = listening()
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    def fail(_: Message) -> None:
        raise LookupError("mine")

    client._error_cb = note
    client.handlers[8] = fail
    await client._ps.parse(b"MSG a 8 2\r\nhi\r\nMSG a 7 2\r\nho\r\n")
    assert [one.body for one in got] == [b"ho"]
    assert [str(error) for error in errors] == ["mine"]


async def test_another_connection_begins_anew() -> None:
    client, got, _ = listening()
    await client._ps.parse(b"MSG a 7 200\r\nbroken of")
    client._ps.reset()
    await client._ps.parse(b"MSG a 7 2\r\nho\r\n")
    assert [one.body for one in got] == [b"ho"]


@pytest.mark.parametrize(
    "line", [b"MSG a 7 many\r\n", b"HMSG a 7 2\r\n", b"MSG\r\n", b"HTTP/1.1 400\r\n", b"?\r\n"]
)
async def test_what_isnt_nats_is_refused(line: bytes) -> None:
    client, _, _ = listening()
    with pytest.raises(ProtocolError):
        await client._ps.parse(line)


@given(heads)
def test_headers_come_back_as_nats_py_reads_them(headers: dict[str, str]) -> None:
    head = _head(headers)
    assert read_headers(head) == headers
    assert Client._parse_header_lines(head.partition(b"\r\n")[2]) == headers


@given(st.binary(max_size=80))
def test_any_bytes_are_read_as_headers(data: bytes) -> None:
    read = read_headers(b"NATS/1.0\r\n" + data)
    assert {name: read[name] for name in read if name not in {"Status", "Description"}} == {
        name: value
        for name, value in Client._parse_header_lines(data).items()
        if name not in {"Status", "Description"}
    }


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (
            b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1016\r\n\r\n",
            {"Status": "100", "Description": "Idle Heartbeat", "Nats-Last-Consumer": "1016"},
        ),
        (b"NATS/1.0\r\nA:\xff\r\nb c: d\r\n\r\n", {"A": "\ufffd"}),
    ],
)
def test_the_brokers_status_stands_among_the_headers(head: bytes, expected: dict[str, str]) -> None:
    assert read_headers(head) == expected


def test_a_header_cant_break_its_line() -> None:
    assert read_headers(_head({"A": "1\r\nB: 2"})) == {"A": "1  B: 2"}
    for name in ("", "a b", "a:b", "a\r\nb", "ä"):
        with pytest.raises(BadHeaderError):
            _head({name: "1"})


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "a\tb"])
async def test_a_subject_cant_break_its_line(subject: str) -> None:
    with pytest.raises(BadSubjectError):
        WireClient().write(subject, b"")


async def test_nothing_is_kept_for_a_broker_that_is_away() -> None:
    with pytest.raises(OutboundBufferLimitError):
        WireClient().write("a", b"")


@pytest.mark.integration
async def test_headers_count_for_the_largest_message(bus: Bus) -> None:
    with pytest.raises(MaxPayloadError):
        bus._client.write("a", b"x" * bus.max_payload, headers={"A": "b"})
    assert bus.connected


@pytest.mark.integration
async def test_what_is_sent_leaves_without_the_flusher_too(bus: Bus) -> None:
    flusher = bus._client._flusher_task
    assert flusher is not None
    flusher.cancel()
    await asyncio.wait({flusher})
    assert "streams" in await bus.api("INFO")
