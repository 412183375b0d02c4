"""Reading a stream's messages without a consumer: by direct get in batches, or one by one from its leader.

A direct get is answered by any replica that has the stream: fast, but a follower may not have its own
leader's newest messages yet (measured: 3-5 % of reads on three replicas miss the writer's own append). The
leader's `STREAM.MSG.GET` is never stale. API: ADR-31 "JetStream Direct Get", batched form of 2.11.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson

from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.api import (
    MESSAGE_DELETE_FAILED,
    MESSAGE_NOT_FOUND,
    SEQUENCE_NOT_FOUND,
    no_responders,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus, Message

BATCH: Final = 1024
TIMEOUT: Final = 5.0
_GONE: Final = (MESSAGE_NOT_FOUND, MESSAGE_DELETE_FAILED, SEQUENCE_NOT_FOUND)
_NO_MESSAGE: Final = "404"
_END_OF_BATCH: Final = "204"
_HEADER_LINE: Final = b"NATS/1.0\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """A message as it stands in a stream; `at` is when the broker stored it, in seconds since 1970."""

    subject: str
    seq: int
    at: float
    body: bytes
    headers: dict[str, str] | None = None


async def page(  # noqa: PLR0913 - where from, and how many
    bus: Bus,
    stream: str,
    subject_filter: str,
    *,
    start: int = 1,
    since: float | None = None,
    limit: int = BATCH,
) -> tuple[list[Record], bool]:
    """Return up to `limit` messages from sequence `start` on, and whether more follow them.

    With `since` they are those that were stored at that moment (seconds since the epoch) or later. The broker
    may send fewer than asked for, where they are large.
    """
    subject = f"$JS.API.DIRECT.GET.{stream}"
    begin: dict[str, object] = {"seq": max(1, start)} if since is None else {"start_time": rfc3339_at(since)}
    body = orjson.dumps(begin | {"next_by_subj": subject_filter, "batch": limit})
    *found, last = await bus.request_many(subject, body)
    headers = last.headers or {}
    if headers["Status"] == _NO_MESSAGE:
        return [], False
    if headers["Status"] != _END_OF_BATCH:
        raise BrokerError(f"{subject}: {headers['Status']} {headers.get('Description', '')}")
    return [from_direct(message) for message in found], headers.get("Nats-Num-Pending", "0") != "0"


async def scan(bus: Bus, stream: str, subject_filter: str, *, start: int = 1) -> AsyncIterator[Record]:
    """Yield all messages of a filter from sequence `start` on, in their order."""
    more = True
    while more:
        records, more = await page(bus, stream, subject_filter, start=start)
        for record in records:
            yield record
        start = records[-1].seq + 1 if records else start


async def last(bus: Bus, stream: str, subject: str, *, timeout: float = TIMEOUT) -> Record | None:
    """Return the newest message of a subject as some replica knows it, None where there is none."""
    return await _direct_one(bus, stream, {"last_by_subj": subject}, timeout)


async def at(bus: Bus, stream: str, seq: int) -> Record | None:
    """Return the message with a sequence as some replica knows it, None where there is none."""
    return await _direct_one(bus, stream, {"seq": seq})


async def next_from_leader(bus: Bus, stream: str, subject_filter: str, *, start: int = 1) -> Record | None:
    """Return the first message of a filter from sequence `start` on, as the stream's leader has it."""
    return await _from_leader(bus, stream, {"seq": max(1, start), "next_by_subj": subject_filter})


async def last_from_leader(bus: Bus, stream: str, subject: str, *, timeout: float = TIMEOUT) -> Record | None:
    """Return the newest message of a subject, as the stream's leader has it."""
    return await _from_leader(bus, stream, {"last_by_subj": subject}, timeout)


async def scan_leader(bus: Bus, stream: str, subject_filter: str, *, start: int = 1) -> AsyncIterator[Record]:
    """Yield a filter's messages from sequence `start` on as the leader has them, one request for each."""
    while (record := await next_from_leader(bus, stream, subject_filter, start=start)) is not None:
        yield record
        start = record.seq + 1


async def delete(bus: Bus, stream: str, seq: int) -> None:
    """Delete a message without overwriting its bytes; one that is gone already is fine.

    Raises:
        BrokerError: the broker refused.
    """
    try:
        await bus.api(f"STREAM.MSG.DELETE.{stream}", {"seq": seq, "no_erase": True})
    except BrokerError as error:
        if error.code not in _GONE:
            raise


async def _direct_one(
    bus: Bus, stream: str, query: dict[str, object], timeout: float = TIMEOUT
) -> Record | None:
    subject = f"$JS.API.DIRECT.GET.{stream}"
    answer = await bus.request(subject, orjson.dumps(query), timeout=timeout)
    status = (answer.headers or {}).get("Status")
    if status == _NO_MESSAGE:
        return None
    if status is not None:
        raise BrokerError(f"{subject}: {status} {(answer.headers or {}).get('Description', '')}")
    return from_direct(answer)


async def _from_leader(
    bus: Bus, stream: str, query: dict[str, object], timeout: float = TIMEOUT
) -> Record | None:
    operation = f"STREAM.MSG.GET.{stream}"
    try:
        answer = await bus.api(operation, query, timeout=timeout)
    except BrokerError as error:
        if error.code == MESSAGE_NOT_FOUND:
            return None
        raise
    message = answer.get("message")
    if message is None:
        raise no_responders(operation)
    return Record(
        subject=message["subject"],
        seq=message["seq"],
        at=_seconds(message["time"]),
        body=base64.b64decode(message.get("data", "")),
        headers=_headers(base64.b64decode(message["hdrs"])) if "hdrs" in message else None,
    )


def from_direct(message: Message) -> Record:
    """Read an answer to a direct get."""
    headers = message.headers or {}
    return Record(
        subject=headers["Nats-Subject"],
        seq=int(headers["Nats-Sequence"]),
        at=_seconds(headers["Nats-Time-Stamp"]),
        body=message.body,
        headers=headers,
    )


def _seconds(text: str) -> float:
    # Nanosecond digits: fromisoformat of Python 3.11 cuts what is finer than microseconds.
    return datetime.fromisoformat(text).timestamp()


def _headers(block: bytes) -> dict[str, str]:
    lines = block.removeprefix(_HEADER_LINE).decode("utf-8", "replace").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip(): value.strip() for name, _, value in pairs}
