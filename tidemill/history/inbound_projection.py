"""Events, records, quarantine and dead letters as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from tidemill.history.changes import Changes
from tidemill.history.shortening import MESSAGE_LIMIT, NAME_LIMIT, clean, dumps, plain, tail, value
from tidemill.history.tables import LINES
from tidemill.kernel.frames import unpack
from tidemill.kernel.jetstream.scan import StoredMessage
from tidemill.kernel.letters import open_letter
from tidemill.kernel.services.delivery_log import DELIVERIES, REFUSALS, Entry, entries_of
from tidemill.kernel.subjects import unescape

_MOST_ATTEMPTS: Final = 50
_OWN_COLUMNS: Final = frozenset({"at", "source", "verdict", "status", "reason", "client"})


WITHOUT_BODY: Final = "withoutbody"
"""Among the attributes of an event: its data came alone, and stand where others have their body."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a stream: its number, when it was stored, its subject's tokens and its bytes."""

    number: int
    at: float
    tokens: list[str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Inbound:
    """Takes in the messages of all streams but the journals'.

    `bases` are what is added to streams' sequences to get numbers, `body_limit` how many bytes of a body are
    kept.
    """

    changes: Changes
    bases: Mapping[str, int]
    body_limit: int

    def take(self, stream: str, message: Message) -> None:
        """Take a message in.

        Raises:
            PayloadError: it is no frame; so do KeyError, TypeError and ValueError where something is missing.
        """
        if stream in (DELIVERIES, REFUSALS):
            self.request_log(stream, message)
        else:
            _READERS[stream](self, message)

    def event(self, message: Message) -> None:
        """Take an event in."""
        facts, raw = unpack(message.body)
        # A run that is repeated needs its event's data as they were: beside the body, or without one.
        given = facts.get("value")
        if given is not None and not raw:
            del facts["value"]
            facts[WITHOUT_BODY] = True
        elif given is not None and len(orjson.dumps(given)) > self.body_limit:
            del facts["value"]
        body = raw or (orjson.dumps(given) if given is not None else b"")
        blob = facts.get("blob")
        source = plain(facts["source"]) or ""
        self.changes.events.append(
            {
                "number": message.number,
                "id": plain(facts["id"]),
                "key": plain(facts.get("deliverykey", "")),
                "source": source,
                "type": plain(facts["type"]),
                "subject": plain(facts.get("subject"), MESSAGE_LIMIT),
                "time": plain(facts.get("time")),
                "at": message.at,
                "replayof": plain(facts.get("replayof")),
                "bytes": len(body),
                "content_type": plain(facts.get("datacontenttype", "application/json")),
            }
        )
        self.changes.event_bodies.append(
            {
                "number": message.number,
                "facts": dumps(facts),
                "body": body[: self.body_limit] if body else None,
                "blob": blob,
            }
        )
        self.changes.count_delivery(message.at, source, "event")

    def record(self, message: Message) -> None:
        """Take in what was decided about a request or an event."""
        kind, facts = message.tokens[1], orjson.loads(message.body)
        if kind == "verdict":
            self._verdicts(message, facts)
            return
        source = plain(facts["source"] if "source" in facts else unescape(message.tokens[2])) or ""
        self.changes.count_delivery(message.at, source, kind, 1 + int(facts.get("missed", 0)))

    def request_log(self, stream: str, message: Message) -> None:
        """Take a piece of the log of requests in."""
        seq = message.number - self.bases[stream]
        piece = StoredMessage("", seq, datetime.fromtimestamp(message.at, UTC), message.body)
        for entry in entries_of(stream, piece):
            self._request(stream, message.number * LINES + entry.place[1], entry)

    def _request(self, stream: str, number: int, entry: Entry) -> None:
        facts, source = entry.facts, plain(entry.source) or ""
        verdict = clean(str(facts.get("verdict", "unknown")), NAME_LIMIT)
        self.changes.count_delivery(entry.at, source, verdict, 1 + int(facts.get("missed") or 0))
        rows = self.changes.deliveries if stream == DELIVERIES else self.changes.refusals
        rows.append(
            {
                "number": number,
                "id": entry.id,
                "source": source,
                "verdict": verdict,
                "at": entry.at,
                "status": status if isinstance(status := facts.get("status"), int) else None,
                "reason": plain(facts.get("reason"), MESSAGE_LIMIT),
                "client": plain(facts.get("client")),
                "data": dumps({name: given for name, given in facts.items() if name not in _OWN_COLUMNS}),
            }
        )
        brought = {
            event["seq"]
            for event in entry.events
            if event.get("seq") and event.get("status") != "quarantined"
        }
        base = self.bases["EVENTS"]
        self.changes.delivery_events += [{"event": base + seq, "delivery": number} for seq in brought]

    def _verdicts(self, message: Message, facts: dict[str, Any]) -> None:
        event = facts["event"]
        judged = facts["verdicts"] or [{"verdict": "unrouted", "task": ""}]
        for part, verdict in enumerate(judged):
            self.changes.verdicts.append(
                {
                    "event": self.bases["EVENTS"] + int(event["seq"]),
                    "number": message.number,
                    "part": part,
                    "verdict": clean(verdict["verdict"], NAME_LIMIT),
                    "task": clean(verdict["task"], NAME_LIMIT),
                    "at": message.at,
                    "data": dumps({name: value(verdict.get(name)) for name in ("clause", "value", "reason")}),
                }
            )
            source, counted = plain(event["source"]) or "", f"pair_{verdict['verdict'][:NAME_LIMIT]}"
            self.changes.count_delivery(message.at, source, counted)

    def quarantined(self, message: Message) -> None:
        """Take an entry of the quarantine in."""
        line, _, raw = message.body.partition(b"\n")
        facts = orjson.loads(line)
        pair = "pair" in facts
        event, reason = (facts["event"], facts["pair"]) if pair else (facts, facts["quarantine"])
        source = plain(event["source"]) or ""
        self.changes.quarantine.append(
            {
                "number": message.number,
                "key": plain(".".join(message.tokens[2:])),
                "kind": "pair" if pair else "delivery",
                "source": source,
                "type": plain(event["type"]),
                "event_id": plain(event["id"]),
                "task": reason.get("task") if pair else None,
                "at": message.at,
                "reason": orjson.dumps(reason).decode(),
                "bytes": len(raw),
                "body": raw[: self.body_limit] or None,
            }
        )

    def log(self, message: Message) -> None:
        """Take in what a run has logged."""
        if not isinstance(orjson.loads(message.body)["lines"], list):
            raise TypeError("its lines are no list")
        self.changes.logs.append(
            {
                "number": message.number,
                "run": plain(message.tokens[1]),
                "at": message.at,
                "bytes": len(message.body),
                "body": message.body,
            }
        )

    def letter(self, message: Message) -> None:
        """Take a dead letter in."""
        facts, raw = open_letter(message.body)
        attempts = facts.get("attempts") or [{}]
        last = attempts[-1]
        kind = last.get("type") or facts.get("outcome") or "error"
        self.changes.dead.append(
            {
                "number": message.number,
                "id": plain(message.tokens[2]),
                "task": plain(unescape(message.tokens[1])),
                "outcome": facts.get("outcome") or "unreadable",
                "at": message.at,
                "attempts": len(attempts),
                "error_type": clean(str(kind), NAME_LIMIT),
                "error_message": clean(last.get("message", "")),
                "data": dumps(
                    {
                        "attempts": [_attempt(one) for one in attempts[-_MOST_ATTEMPTS:]],
                        "seq": facts.get("seq"),
                        "bytes": len(raw),
                        "subject": facts.get("subject"),
                    }
                ),
            }
        )


def _attempt(fault: dict[str, Any]) -> dict[str, Any]:
    return fault | {"message": clean(fault.get("message", "")), "traceback": tail(fault.get("traceback", ""))}


_READERS: Final[dict[str, Callable[[Inbound, Message], None]]] = {
    "EVENTS": Inbound.event,
    "RECORDS": Inbound.record,
    "QUARANTINE": Inbound.quarantined,
    "DEAD": Inbound.letter,
    "LOGS": Inbound.log,
}
