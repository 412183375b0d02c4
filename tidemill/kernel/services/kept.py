"""Requests that were refused for their signature and kept for a while, to be verified again.

Each source has a stream of its own, bounded in age and size, where the oldest go first: whoever floods one
source pushes out nothing of another. A request that is too large for one message stands in several parts
under one name; the first has its facts, `kept.<source>.<name>.0`.

Where the settings name a data key all of it is encrypted, each part bound to its place, and the facts of
the first are the key's id alone: headers may hold what is secret.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.errors import PayloadError, SettingsError
from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.jetstream import records
from tidemill.kernel.services.delivery_log import parse_id
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.records import Record
    from tidemill.kernel.services.vault import Vault

NAME: Final = re.compile(r"[0-9a-f]{16}")
"""What requests are called."""
PAGE: Final = 4
_PART: Final = 512 * 1024
_SEALED: Final = 1
_SHARE: Final = 4
"""One request takes a quarter of its stream at most, so that it can't push out all others."""


def stream_of(source: str) -> str:
    """Return the name of a source's stream, without namespace."""
    return f"KEPT_{source}"


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A refused request.

    Attributes:
        source: the configured source.
        name: what it is called, as in the log.
        seq: its place in the source's stream.
        facts: `method`, `path`, `query`, `headers` (pairs, as Latin-1), `at` (seconds since the epoch),
            `client`, `tenant` and `check`.
        body: the raw bytes.
        problem: why it can't be read, None where it can; then there are neither facts nor a body.
    """

    source: str
    name: str
    seq: int
    facts: dict[str, Any]
    body: bytes
    problem: str | None = None


class KeptRequests:
    """The kept requests of all sources of a namespace.

    Args:
        bus: the connection.
        vault: encrypts what is kept where the settings name a key, and opens it.
    """

    def __init__(self, bus: Bus, vault: Vault) -> None:
        self._bus = bus
        self._vault = vault

    async def keep(
        self, source: str, facts: dict[str, Any], body: bytes, *, most: int, timeout: float
    ) -> str | None:
        """Keep a request and return its name, None where it is too large for a stream of `most` bytes.

        Raises:
            BrokerError: it isn't kept, or not all of it.
        """
        size, name = min(_PART, self._bus.max_payload // 2), secrets.token_hex(8)
        parts = [body[start : start + size] for start in range(0, max(1, len(body)), size)]
        head = pack(facts | {"parts": len(parts)}, parts[0])
        if self._vault.configured:
            head = pack({"v": _SEALED, "key": self._vault.configured[0]}, self._sealed(source, name, 0, head))
            parts = [self._sealed(source, name, number, part) for number, part in enumerate(parts)]
        if len(head) + len(body) > most // _SHARE or len(head) > self._bus.max_payload - 4096:
            return None
        # The head comes last: what has one is complete.
        for number in range(len(parts) - 1, 0, -1):
            await self._bus.publish(self._subject(source, name, str(number)), parts[number], timeout=timeout)
        await self._bus.publish(self._subject(source, name, "0"), head, timeout=timeout)
        return name

    async def after(self, source: str, seq: int) -> AsyncIterator[KeptRequest]:
        """Yield a source's requests that stand behind a sequence, the oldest first.

        Raises:
            BrokerError: they can't be read.
        """
        stream, more = self._bus.names.stream(stream_of(source)), True
        while more:
            heads, more = await records.page(
                self._bus, stream, self._subject(source, "*", "0"), start=seq + 1, limit=PAGE
            )
            for head in heads:
                seq = head.seq
                request = await self._whole(source, stream, head)
                if request is not None:
                    yield request
            more = more and bool(heads)

    async def find(self, source: str, name: str) -> KeptRequest | None:
        """Return a source's request by its name, None where it isn't kept any more.

        Raises:
            BrokerError: it can't be read.
        """
        stream = self._bus.names.stream(stream_of(source))
        head = await records.last(self._bus, stream, self._subject(source, name, "0"))
        return await self._whole(source, stream, head) if head is not None else None

    async def remove(self, request: KeptRequest) -> None:
        """Take a request out.

        Raises:
            BrokerError: the broker refused.
        """
        stream = self._bus.names.stream(stream_of(request.source))
        subject = self._subject(request.source, request.name, ">")
        await self._bus.api(f"STREAM.PURGE.{stream}", {"filter": subject})

    async def _whole(self, source: str, stream: str, head: Record) -> KeptRequest | None:
        """Return a request with its body, None where a part of it has aged out."""
        name = self._bus.names.tokens(head.subject)[2]
        try:
            key, facts, body = self._opened(source, name, head.body)
            for number in range(1, int(facts.get("parts", 1))):
                part = await records.last(self._bus, stream, self._subject(source, name, str(number)))
                if part is None:
                    return None
                body += part.body if key is None else self._open(source, name, number, key, part.body)
        except SettingsError as error:
            return KeptRequest(source, name, head.seq, {}, b"", error.sentence)
        except PayloadError:
            return None
        return KeptRequest(source, name, head.seq, facts, body)

    def _opened(self, source: str, name: str, head: bytes) -> tuple[str | None, dict[str, Any], bytes]:
        """Return the id of the key that a request was encrypted with, None where it wasn't, facts and body.

        Raises:
            SettingsError: the key isn't at hand.
            PayloadError: it is damaged, or of a version that isn't known here.
        """
        facts, body = unpack(head)
        if "v" not in facts:
            return None, facts, body
        key = facts.get("key")
        if facts["v"] != _SEALED or not isinstance(key, str):
            raise PayloadError("it was encrypted in a way that isn't known here")
        return key, *unpack(self._open(source, name, 0, key, body))

    def _sealed(self, source: str, name: str, number: int, raw: bytes) -> bytes:
        return self._vault.seal_bytes(_record(source, name, number), raw)

    def _open(self, source: str, name: str, number: int, key: str, raw: bytes) -> bytes:
        return self._vault.open_bytes(_record(source, name, number), key, raw)

    def _subject(self, source: str, name: str, part: str) -> str:
        return self._bus.names.subject("kept", escape(source), name, part)


def is_request(text: str) -> bool:
    """Say whether some text names a single request, as its delivery's id does or as it is kept."""
    return parse_id(text) is not None or NAME.fullmatch(text) is not None


def _record(source: str, name: str, number: int) -> str:
    """Return what a part is bound to when it is encrypted: a source's name has no slash."""
    return f"kept/{source}/{name}/{number}"
