"""Names on the broker: tokens, subjects, streams and message ids.

A subject is a list of tokens separated by dots (NATS protocol, "Subject-based messaging"). Names that
come from outside (sources, types, task ids) are escaped into one token each by percent-encoding every
byte outside of `A-Z a-z 0-9 _ -`, so that the mapping is reversible and no name can widen a filter.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

EMPTY_TOKEN: Final = "%"
_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_RUN_DIGITS: Final = 26
_SPARE_BITS: Final = 17 * 8 - _RUN_DIGITS * 5
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
_SHIFTS: Final = range(_RUN_DIGITS * 5 - 10, -1, -10)
_KEY_DIGITS: Final = 40
RUN_ID: Final = re.compile(rf"run_[0-9a-v]{{{_RUN_DIGITS}}}")
"""What a run's id looks like."""


@lru_cache(maxsize=4096)
def escape(name: str) -> str:
    """Encode any text as one subject token; the empty text becomes a lone percent sign."""
    encoded = _UNSAFE.sub(lambda m: b"%%%02X" % m.group()[0], name.encode("utf-8", "surrogatepass"))
    return encoded.decode("ascii") or EMPTY_TOKEN


def unescape(token: str) -> str:
    """Decode a token that `escape` made."""
    return "" if token == EMPTY_TOKEN else unquote(token, errors="surrogatepass")


@lru_cache(maxsize=4096)
def escape_type(event_type: str) -> str:
    """Encode an event type into tokens: its dots stay, so that wildcards match on its parts."""
    return ".".join(escape(part) for part in event_type.split("."))


def escape_pattern(pattern: str) -> str:
    """Encode a pattern over types as a filter of subjects: its wildcards stay."""
    return ".".join(part if part in ("*", ">") else escape(part) for part in pattern.split("."))


def unescape_type(tokens: str) -> str:
    """Decode what `escape_type` made."""
    return ".".join(unescape(token) for token in tokens.split("."))


def type_matches(pattern: str, event_type: str) -> bool:
    """Say whether an event type fits a pattern with JetStream's wildcards: `*` one part, `>` the rest."""
    wanted, parts = pattern.split("."), event_type.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return index == len(wanted) - 1 and len(parts) > index
        if index >= len(parts) or token not in ("*", parts[index]):
            return False
    return len(wanted) == len(parts)


def pattern_problem(pattern: str) -> str | None:
    """Say what is wrong with a type pattern, or None."""
    parts = pattern.split(".")
    if not all(parts):
        return "it has an empty part"
    if ">" in parts[:-1]:
        return "'>' may only be its last part"
    for part in parts:
        if part not in ("*", ">") and ("*" in part or ">" in part):
            return f"a wildcard stands for a whole part, {part!r} mixes it with text"
    return None


def delivery_key(source: str, event_id: str) -> str:
    """Return the message id of a delivery: one per source (with tenant) and event id, in every stream."""
    digest = hashlib.sha256(f"{len(source)}:{source}{event_id}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_KEY_DIGITS]


def _run_id(digest: bytes) -> str:
    """Return 130 bits as text in the alphabet `0-9a-v` (RFC 4648, base32hex), which sorts as the bytes do.

    Two digits at a time from a table: the standard library's encoder is written in Python and six times
    as slow, and every event passes here.
    """
    bits = int.from_bytes(digest[:17], "big") >> _SPARE_BITS
    return "run_" + "".join([_PAIRS[bits >> shift & 0x3FF] for shift in _SHIFTS])


def _derived(*parts: str) -> str:
    return _run_id(hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).digest())


def run_of_event(event_key: str, task: str) -> str:
    """Return the id of the one run that an event starts for a task, whoever computes it (B2)."""
    return _derived("event", event_key, task)


def run_of_key(task: str, idempotency_key: str) -> str:
    """Return the id of the one run that a trigger with an idempotency key starts."""
    return _derived("key", task, idempotency_key)


def child_index(key: str, number: int) -> str:
    """Return what tells a run's children apart: the key of the call that starts them, and their number."""
    return f"{key}/{number}"


def run_of_child(parent: str, index: str) -> str:
    """Return the id of a run's child: a crash of the parent never starts another one."""
    return _derived("child", parent, index)


def run_of_hooks(run: str, end_seq: int) -> str:
    """Return the id of the run that executes a run's hooks after its end at journal record `end_seq`."""
    return _derived("hooks", run, str(end_seq))


def run_of_tick(schedule: str, tick: float) -> str:
    """Return the id of the one run that a schedule's tick starts: whoever decides it, and however often."""
    return _derived("tick", schedule, str(int(tick)))


def run_of_bulk(token: str, run: str) -> str:
    """Return the id of the run that repeats another as one of many: repeating that starts no second one."""
    return _derived("bulk", token, run)


def run_of_fork(run: str, idempotency_key: str) -> str:
    """Return the id of the one fork of a run that an idempotency key starts."""
    return _derived("fork", run, idempotency_key)


def new_run() -> str:
    """Return a fresh run id that sorts by its time of creation (48 bits of milliseconds, 82 random)."""
    stamp = int(time.time() * 1000).to_bytes(6, "big")
    return _run_id(stamp + secrets.token_bytes(11))


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one namespace on a broker; the empty namespace has no prefix at all."""

    namespace: str = ""

    def stream(self, name: str) -> str:
        """Return a stream's name: `EVENTS`, or `prod_EVENTS` in a namespace."""
        return f"{self.namespace}_{name}" if self.namespace else name

    def subject(self, *tokens: str) -> str:
        """Join tokens that are already escaped into a subject of this namespace."""
        return ".".join((self.namespace, *tokens)) if self.namespace else ".".join(tokens)

    def event(self, source: str, event_type: str) -> str:
        """Return `events.<source token>.<full type>`."""
        return self.subject("events", escape(source), escape_type(event_type))

    def quarantine(self, source: str, key: str) -> str:
        """Return `quarantine.<source token>.<delivery key>`."""
        return self.subject("quarantine", escape(source), key)

    def record(self, kind: str, source: str, key: str) -> str:
        """Return `records.<kind>.<source token>.<key>`: what was decided about a request or an event."""
        return self.subject("records", kind, escape(source), key)

    def journal(self, run: str) -> str:
        """Return `journal.<run>`: the only truth about a run."""
        return self.subject("journal", run)

    def ticket(self, task: str, run: str, seq: int) -> str:
        """Return `tickets.<task>.<run>.<seq>`: permission to continue a run from record `seq`."""
        return self.subject("tickets", escape(task), run, str(seq))

    def tickets_of(self, task: str) -> str:
        """Return the filter for all tickets of a task."""
        return self.subject("tickets", escape(task), ">")

    def timer(self, task: str, run: str, seq: int) -> str:
        """Return `timers.<task>.<run>.<seq>`: the pending schedule that continues a run from a record."""
        return self.subject("timers", escape(task), run, str(seq))

    def signal(self, run: str) -> str:
        """Return `signals.<run>`: news for a run from outside."""
        return self.subject("signals", run)

    def reply(self, key: str) -> str:
        """Return `replies.<delivery key>`: where the senders of a delivery wait; no stream keeps it."""
        return self.subject("replies", key)

    def look(self, schedule: str) -> str:
        """Return `ticks.<schedule>`: a look at a schedule is due."""
        return self.subject("ticks", escape(schedule))

    def wake(self, schedule: str, at: float) -> str:
        """Return `wakes.<schedule>.<milliseconds>`: the plan of a look; one for each moment."""
        return self.subject("wakes", escape(schedule), str(round(at * 1000)))

    def dead(self, task: str, run: str) -> str:
        """Return `dead.<task>.<run>`: what was given up on."""
        return self.subject("dead", escape(task), run)

    def consumer_of(self, task: str) -> str:
        """Return the name of a task's durable consumer."""
        return f"task-{escape(task)}"

    def tokens(self, subject: str) -> list[str]:
        """Split a subject of this namespace into its tokens, without the namespace."""
        tokens = subject.split(".")
        return tokens[1:] if self.namespace else tokens
