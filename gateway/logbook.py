"""The logbook: what every request came to, written to the broker in pieces of many entries.

An entry is made when its request is answered, and costs the request no round trip: it waits for at most a
quarter of a second for others, and one message takes them all. What was taken is all kept; of what strangers
send only a sample of each source, and an entry then says how many before it weren't kept. A broker that is
away is waited for, as long as what waits is small; a gateway that is killed loses what was waiting, and none
of the events themselves.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from gateway.metrics import UNKNOWN
from gateway.recorder import TokenBucket
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.messages import TOO_LARGE
from tidemill.kernel.services.delivery_log import DELIVERIES, REFUSALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.metrics import Metrics
    from gateway.outcome import Outcome
    from gateway.redaction import Redaction
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.kept import KeptRequest

_log = logging.getLogger(__name__)

INTERVAL: Final = 0.25
RETRY: Final = 1.0
PUBLISH_TIMEOUT: Final = 2.0
PIECE: Final = 64 * 1024
"""Bytes of one message, if no single entry is larger."""
MOST_WAITING: Final = 4 * 1024 * 1024
"""Bytes that may wait for each stream."""
RATE: Final = 5.0
BURST: Final = 200.0
MOST_LINE: Final = 400 * 1024
"""Bytes of one entry; a batch's events that don't fit are counted alone."""
_LONGEST_METHOD: Final = 16
_LONGEST_PATH: Final = 200


class Logbook:
    """Writes entries.

    Args:
        bus: the connection.
        metrics: counts what wasn't kept.
        redaction: says what of a stranger's headers may be written.
        sources: the configured ones, each of which gets a sample of its own.
    """

    def __init__(self, bus: Bus, metrics: Metrics, redaction: Redaction, sources: Iterable[str] = ()) -> None:
        self._bus = bus
        self._metrics = metrics
        self._redaction = redaction
        self._taken = _Waiting(DELIVERIES)
        self._others = _Waiting(REFUSALS)
        self._samples = {source: _Sample() for source in (UNKNOWN, *sources)}
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def write_down(  # noqa: PLR0913, PLR0917 - what is known of a request
        self,
        source: str | None,
        tenant: str | None,
        scope: Mapping[str, Any],
        outcome: Outcome,
        seconds: float,
        client: str,
    ) -> None:
        """Make an entry of a request, unless there are too many that brought nothing.

        Args:
            source: the configured source, None where there is none of that name.
            tenant: as the path names it.
            scope: the request.
            outcome: what it came to.
            seconds: from its head to its answer.
            client: the address that it came from.
        """
        if outcome.events is not None:
            entry = _facts(source, tenant, outcome, seconds, client)
            entry["events"] = outcome.events
            if not self._taken.add(_line(entry)):
                self._metrics.records_dropped["taken",] += 1
            self._wake.set()
            return
        sample = self._samples.get(source or UNKNOWN) or self._samples[UNKNOWN]
        if not sample.bucket.take():
            self._miss(sample)
            return
        entry = _facts(source, tenant, outcome, seconds, client) | self._strange(source, scope)
        entry["missed"] = sample.missed
        if outcome.refused is not None:
            _log.warning(
                "refused a request to %s from %s: %s (%d)",
                source or UNKNOWN, client, outcome.refused.check, outcome.refused.status,
            )  # fmt: skip
        if self._others.add(_line(entry)):
            sample.missed = 0
            self._wake.set()
        else:
            self._miss(sample)

    def let_in(self, request: KeptRequest, outcome: Outcome, seconds: float) -> None:
        """Make an entry of a refused request that has turned out to be genuine."""
        client = str(request.facts.get("client"))
        entry = _facts(request.source, request.facts.get("tenant"), outcome, seconds, client)
        if not self._taken.add(_line(entry | {"events": outcome.events, "reverified": request.name})):
            self._metrics.records_dropped["taken",] += 1
        self._wake.set()

    def _strange(self, source: str | None, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return what else is kept of a request that brought nothing: there is no event that has it."""
        return {
            "method": scope["method"][:_LONGEST_METHOD],
            "path": scope["path"][:_LONGEST_PATH],
            "headers": self._redaction.show_raw(source, scope["headers"]),
        }

    async def run(self) -> None:
        """Send what waits to the broker, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._write()
            except BrokerError as error:
                _log.debug("the log of requests waits: %s", error.sentence)
                self._wake.set()
                await asyncio.sleep(RETRY)
            else:
                await asyncio.sleep(INTERVAL)

    async def drain(self) -> None:
        """Send what waits, once, before the end."""
        try:
            await self._write()
        except BrokerError as error:
            _log.warning("the last entries of the log of requests weren't kept: %s", error.sentence)

    async def _write(self) -> None:
        async with self._writing:
            for waiting in (self._taken, self._others):
                while (piece := waiting.piece()) is not None:
                    headers = {"Nats-Msg-Id": piece.key}
                    subject = self._bus.names.subject(waiting.stream.lower(), "log")
                    try:
                        await self._bus.publish(subject, piece.body, headers=headers, timeout=PUBLISH_TIMEOUT)
                    except BrokerError as error:
                        if error.code != TOO_LARGE:
                            raise
                        _log.error("a piece of the log of requests is too large for the broker: %s", error)
                    waiting.written()

    def _miss(self, sample: _Sample) -> None:
        sample.missed += 1
        self._metrics.records_dropped["refused",] += 1


class _Sample:
    """How many of a source's fruitless requests are kept, and how many weren't."""

    __slots__ = ("bucket", "missed")

    def __init__(self) -> None:
        self.bucket = TokenBucket(rate=RATE, burst=BURST, clock=time.monotonic)
        self.missed = 0


class _Piece(NamedTuple):
    key: str
    body: bytes


class _Waiting:
    """Lines on their way to a stream; what was begun is sent again as it was, under the same key."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._begun: _Piece | None = None

    def add(self, line: bytes) -> bool:
        """Let a line wait; say whether there was room."""
        if self._bytes + len(line) > MOST_WAITING:
            return False
        self._lines.append(line)
        self._bytes += len(line)
        return True

    def piece(self) -> _Piece | None:
        """Return what is to be sent next, None where nothing waits."""
        if self._begun is None and self._lines:
            lines = [self._lines.popleft()]
            size = len(lines[0])
            while self._lines and size + len(self._lines[0]) < PIECE:
                lines.append(self._lines.popleft())
                size += len(lines[-1]) + 1
            self._begun = _Piece(secrets.token_hex(12), b"\n".join(lines))
            self._bytes -= sum(map(len, lines))
        return self._begun

    def written(self) -> None:
        """Forget what was begun: the broker has it."""
        self._begun = None


def _facts(
    source: str | None, tenant: str | None, outcome: Outcome, seconds: float, client: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "at": time.time() - seconds,
        "source": source,
        "verdict": outcome.verdict,
        "status": outcome.answer.status if outcome.answer is not None else None,
        "us": round(seconds * 1e6),
        "client": client,
        "size": outcome.size,
    }
    if tenant is not None:
        facts["tenant"] = tenant
    if outcome.secret is not None:
        facts["secret"] = outcome.secret
    if outcome.refused is not None:
        facts["reason"], facts["detail"] = outcome.refused.check, outcome.refused.detail
    if outcome.kept is not None:
        facts["kept"] = outcome.kept
    return facts


def _line(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as a line; one that is too long for a message names fewer events, and how many."""
    line = orjson.dumps(entry, default=str)
    if len(line) <= MOST_LINE:
        return line
    events = entry.get("events", ())
    if len(events) < 2:  # noqa: PLR2004 - there is nothing to leave out
        return line
    kept = max(1, len(events) * MOST_LINE // (2 * len(line)))
    return _line({**entry, "events": events[:kept], "of": entry.get("of", len(events))})
