"""What has come in the streams since they were read last: failed runs, quarantine, drift, requests.

The place up to which a stream was read moves with what was counted of it, in one step: nothing is counted
twice, and nothing is passed over, whenever this process ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from consumers.alerts.reading import Tally
from consumers.alerts.state import Example, Place
from consumers.alerts.wording import LONGEST_TEXT, line
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.inspection import stream_info
from tidemill.kernel.letters import open_letter
from tidemill.kernel.subjects import unescape

if TYPE_CHECKING:
    from consumers.alerts.state import AlertState
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.records import Record

PAGE: Final = 256
PAGES: Final = 8
"""Pages of one stream that are read between two decisions."""
_FILTERS: Final = {
    "DEAD": ("dead", "*", "*"),
    "QUARANTINE": ("quarantine", ">"),
    "RECORDS": ("records", "drift", "*", "*"),
    "DELIVERIES": ("deliveries", ">"),
}
Redact = Callable[[str], str]


class Streams:
    """Reads the streams that are asked for.

    Args:
        bus: the connection.
        state: what holds the places.
        redact: what is done with errors' messages; None leaves them out.
    """

    def __init__(self, bus: Bus, state: AlertState, redact: Redact | None) -> None:
        self._bus = bus
        self._state = state
        self._redact = redact
        self._caught_up: set[str] = set()

    async def begin(self, streams: set[str]) -> None:
        """Find the places; a stream that is new, or another one of its name, is read from its end on.

        Raises:
            BrokerError: the broker doesn't say.
        """
        for stream in streams:
            info = await stream_info(self._bus, self._bus.names.stream(stream))
            created, last = str(info["created"]), int(info["state"]["last_seq"])
            place = self._state.places.get(stream)
            if place is None:
                self._state.places[stream] = Place(created=created, seq=last)
            elif place.created != created or place.seq > last:
                self._state.places[stream] = Place(created=created, seq=0)

    def caught_up(self, stream: str) -> bool:
        """Say whether a stream was read up to its end once, so that what comes is news."""
        return stream in self._caught_up

    async def read(self, stream: str, tally: Tally, now: float) -> bool:
        """Count what has come in a stream; say whether there may be more.

        Raises:
            BrokerError: it can't be read.
        """
        place, names = self._state.places[stream], self._bus.names
        subject, more = names.subject(*_FILTERS[stream]), True
        for _ in range(PAGES):
            page, more = await records.page(
                self._bus, names.stream(stream), subject, start=place.seq + 1, limit=PAGE
            )
            for record in page:
                self._take(stream, record, tally, now)
                place.seq = record.seq
            if not page or not more:
                self._caught_up.add(stream)
                return False
        return more

    def _take(self, stream: str, record: Record, tally: Tally, now: float) -> None:
        tokens = self._bus.names.tokens(record.subject)
        match stream:
            case "DEAD":
                self._take_letter(unescape(tokens[1]), tokens[2], record, tally)
            case "QUARANTINE":
                source, key = unescape(tokens[1]), ".".join(tokens[2:])
                example = _quarantined(key, record) if tally.wants_example(source) else None
                tally.add(source, path="/quarantine", example=example)
            case "RECORDS":
                _take_drift(record, tally)
            case _:
                self._take_deliveries(stream, record, now)

    def _take_letter(self, task: str, key: str, record: Record, tally: Tally) -> None:
        example = None
        if tally.wants_example(task):
            example = Example(key, self._error_of(record), f"/dead/{key}")
        tally.add(task, path=f"/dead?task={_quoted(task)}", example=example)

    def _error_of(self, record: Record) -> str:
        """Return why a run was given up, as far as it may be told."""
        try:
            facts, _ = open_letter(record.body)
        except PayloadError:
            return "its letter can't be read"
        last = (facts.get("attempts") or [{}])[-1]
        kind, said = str(last.get("type") or facts.get("outcome") or ""), str(last.get("message") or "")
        if self._redact is None or not said:
            return line(kind)
        return line(f"{kind}: {self._redact(said[: 4 * LONGEST_TEXT])}".removeprefix(": "))

    def _take_deliveries(self, stream: str, record: Record, now: float) -> None:
        """Note which sources were heard of: just now where it has caught up, else when the broker says."""
        at = now if stream in self._caught_up else min(now, record.at)
        for one in record.body.split(b"\n"):
            try:
                source = orjson.loads(one).get("source")
            except (orjson.JSONDecodeError, AttributeError):
                continue
            if isinstance(source, str):
                self._state.heard[source] = max(at, self._state.heard.get(source, at))


def _quarantined(key: str, record: Record) -> Example:
    """Return an entry of the quarantine as an example: why it is there, and nothing that it says."""
    try:
        facts: dict[str, Any] = orjson.loads(record.body.partition(b"\n")[0])
        pair = facts.get("pair")
        if pair is not None:
            text = f"the condition of task {pair.get('task')} can't judge it"
        else:
            reason = facts.get("quarantine") or {}
            text = f"{reason.get('code')} at {reason.get('path')}" if reason.get("path") else reason["code"]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        text = "its entry can't be read"
    return Example(key, line(str(text)), f"/quarantine/{_quoted(key)}")


def _take_drift(record: Record, tally: Tally) -> None:
    """Count a report of drift by source and type; what events look like isn't told."""
    try:
        facts = orjson.loads(record.body)
        key = f"{facts['source']} {facts['type']}"
        findings = facts["findings"]
        texts = [f"{str(one['kind']).replace('_', ' ')} at {one['path']}" for one in findings[:3]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return
    for text in texts:
        tally.add(key, path="/events", example=Example(key, line(text), ""))
    tally.add(key, len(findings) - len(texts), path="/events")


def _quoted(name: str) -> str:
    """Return a name as a part of a path or a query: nothing of it can end an address, or begin another."""
    return quote(name, safe="")
