"""`POST /events`: where internal services publish, as a plain ASGI callable.

An event that isn't sound is refused, not quarantined: its sender is a program that can be mended. Data that
misses a schema is quarantined like everybody's. All events of a batch are stored, or none is promised.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.answer import Answer
from gateway.body import Budget, Fault, declared_length, read_body
from gateway.compressed import CODINGS, decompress
from gateway.compressed import Fault as CompressionFault
from gateway.events.attributes import UnsoundEventError, moment_of
from gateway.events.binding import Carried, CloudEvent, UnreadableError, read
from gateway.events.callers import Caller, Callers, scope_problem
from gateway.events.tokens import BearerTokens
from gateway.handshakes import Handshaker, Means
from gateway.inbound import Inbound
from gateway.kept_headers import kept_headers, trace_context
from gateway.keys.judging import keys_away, with_keys
from gateway.keys.store import KeysAwayError, KeyStore
from gateway.keys.wanted import Wanted
from gateway.outcome import Outcome
from gateway.problem import RETRY_AFTER, UNEXPECTED, Problem, method_not_allowed
from gateway.receipt import Receipts, entries, status_of
from gateway.recipes.handshake import Handshake, HandshakeAnswer
from gateway.verdict import Accepted, Handshaken, Quarantined, Refused
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.subjects import delivery_key, escape, escape_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.body import Receive, Send
    from gateway.clients import Clients
    from gateway.depot import Depot
    from gateway.limits import Gate
    from gateway.logbook import Logbook
    from gateway.metrics import Metrics
    from gateway.schemas import SchemaStore
    from tidemill.kernel.settings.events import EventKey, TokenIssuer

_log = logging.getLogger(__name__)

PATH: Final = "/events"
SOURCE: Final = "events"
"""How requests are counted, and the directory of schemas for events of all sources."""
_METHODS: Final = "OPTIONS, POST"
MAX_ID: Final = 400
MAX_NAME: Final = 1000
"""Both are parts of a subject, and with all that stands around it that must fit into 4 KiB."""
_ORIGIN: Final = Handshake(
    name="abuse protection",
    method="OPTIONS",
    when={"header:WebHook-Request-Origin": True},
    answer=HandshakeAnswer(
        headers={
            "WebHook-Allowed-Origin": "{header:WebHook-Request-Origin}",
            "WebHook-Allowed-Rate": "{rate}",
            "Allow": "POST",
        }
    ),
)


class _Judged(NamedTuple):
    """What becomes of the events of a request, and whether it was a batch."""

    items: list[Accepted | Quarantined]
    batch: bool


class EventApi:
    """Takes CloudEvents from whoever has a key."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        keys: Callable[[], Sequence[EventKey]],
        depot: Depot,
        schemas: SchemaStore,
        *,
        metrics: Metrics,
        clients: Clients,
        max_body: int,
        gate: Gate | None = None,
        logbook: Logbook | None = None,
        issuers: Callable[[], Sequence[TokenIssuer]] = tuple,
        published: KeyStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._published = published or KeyStore()
        self._callers = Callers(keys, issuers, BearerTokens(self._published))
        self._depot = depot
        self._schemas = schemas
        self._logbook = logbook
        self._metrics = metrics
        self._clients = clients
        self._max_body = max_body
        self._gate = gate
        self._clock = clock
        self._budget = Budget()
        self._receipts = Receipts()
        self._handshaker = Handshaker([_ORIGIN], Means(tuple, tuple))

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        client = self._clients.address(scope)
        limited = self._gate.enter(client) if self._gate is not None else None
        if limited is not None:
            outcome = _refused(limited, unread=True)
        else:
            try:
                outcome = await self._safely(scope, receive, client)
            finally:
                if self._gate is not None:
                    self._gate.leave()
        self._write_down(scope, outcome, time.perf_counter() - started, client)
        if outcome.answer is not None:
            await outcome.answer.send(send, receive)

    def _write_down(self, scope: Mapping[str, Any], outcome: Outcome, seconds: float, client: str) -> None:
        """Count a request, and keep what it came to."""
        outcome = outcome._replace(size=declared_length(scope["headers"]))
        self._metrics.request(SOURCE, outcome.verdict, outcome.size, seconds)
        if outcome.refused is not None:
            self._metrics.refused[SOURCE, outcome.refused.check] += 1
        if self._logbook is not None:
            self._logbook.write_down(SOURCE, None, scope, outcome, seconds, client)

    async def _safely(self, scope: Mapping[str, Any], receive: Receive, client: str) -> Outcome:
        try:
            return await self._handle(scope, receive, client)
        except BrokerError as error:
            _log.warning("events of %s aren't stored: %s", client, error.sentence)
            self._metrics.publish_failures["events",] += 1
            detail = "The events could not be stored just now. Send them again."
            away = Problem(503, "broker-away", detail, headers=(RETRY_AFTER,))
            return Outcome(Answer.problem(away), "unavailable")
        except KeysAwayError as error:
            return Outcome(Answer.problem(keys_away(error.retry_after)), "unavailable")
        except Exception:  # noqa: BLE001 - the last resort: one answer, and the log has the traceback
            _log.exception("a request to %s failed", PATH)
            return Outcome(Answer.problem(UNEXPECTED, unread=True), "failed")

    async def _handle(self, scope: Mapping[str, Any], receive: Receive, client: str) -> Outcome:
        method = scope["method"]
        if method not in ("POST", "OPTIONS"):
            return _refused(method_not_allowed(_METHODS), unread=True)
        body = await read_body(receive, declared_length(scope["headers"]), self._max_body, self._budget)
        if isinstance(body, Fault):
            return self._without_body(body)
        query = scope["query_string"].decode("latin-1")
        inbound = Inbound(method, PATH, query, scope["headers"], body, self._clock())
        if method == "OPTIONS":
            return self._shake(inbound)
        judged = await self._judge_caller(inbound)
        if isinstance(judged, Problem):
            return _refused(judged)
        return await self._store(judged, client)

    async def _judge_caller(self, inbound: Inbound) -> _Judged | Problem:
        """Judge a request of whoever it is by what they show."""
        found = self._callers.identify(inbound)
        if isinstance(found, Wanted):
            caller: Caller | Problem = await with_keys(
                self._published, found, partial(self._callers.identify, inbound)
            )
        else:
            caller = found
        return caller if isinstance(caller, Problem) else self._judge(inbound, caller)

    def _judge(self, inbound: Inbound, caller: Caller) -> _Judged | Problem:
        plain = _plain(inbound, self._max_body)
        if isinstance(plain, Problem):
            return plain
        carried = _carried(plain)
        if isinstance(carried, Problem):
            return carried
        problems = (_problem_of(event, caller) for event in carried.events)
        problem = next((problem for problem in problems if problem is not None), None)
        if problem is not None:
            return problem
        return _Judged([self._judge_event(event, plain) for event in carried.events], carried.batch)

    def _judge_event(self, event: CloudEvent, inbound: Inbound) -> Accepted | Quarantined:
        envelope = envelope_of(event, inbound)
        judged = self._schemas.judge((SOURCE, envelope.source), (envelope.type,), envelope.data)
        if judged.reason is not None:
            return Quarantined(envelope, judged.reason)
        if judged.identifier is not None and envelope.dataschema is None:
            envelope = envelope.model_copy(update={"dataschema": judged.identifier})
        return Accepted(envelope, 0, judged.identifier)

    async def _store(self, judged: _Judged, client: str) -> Outcome:
        if judged.batch:
            taken = await self._depot.store_items(judged.items, client)
            return Outcome(self._receipts.many(taken), status_of(taken), events=entries(taken))
        one = await self._depot.store(judged.items[0], client)
        return Outcome(self._receipts.one(one), one.status, events=entries((one,)))

    def _shake(self, inbound: Inbound) -> Outcome:
        shaken = self._handshaker.unsigned(inbound)
        if isinstance(shaken, Handshaken):
            return Outcome(shaken.answer, "handshake")
        return _refused(method_not_allowed("POST"))

    def _without_body(self, fault: Fault) -> Outcome:
        if fault is Fault.GONE:
            return Outcome(None, "disconnected")
        if fault is Fault.BUSY:
            problem = Problem(
                503, "busy", "Too many large requests at the same time.", headers=(RETRY_AFTER,)
            )
            return Outcome(Answer.problem(problem, unread=True), "unavailable")
        return _refused(_too_large(self._max_body), unread=True)


def _refused(problem: Problem, *, unread: bool = False) -> Outcome:
    refused = Refused(problem.status, problem.kind.replace("-", "_"), problem.detail)
    return Outcome(Answer.problem(problem, unread=unread), "refused", refused=refused)


def envelope_of(event: CloudEvent, inbound: Inbound) -> Envelope:
    """Return a CloudEvent as it travels: its names stay what they are."""
    known = {name: value for name, value in event.attributes.items() if name in _KNOWN}
    extensions = {name: value for name, value in event.attributes.items() if name not in _KNOWN}
    headers = kept_headers(inbound)
    if "time" in known:
        known["time"] = moment_of(known["time"])
    return Envelope(
        **{**trace_context(headers), **known},
        deliverykey=delivery_key(known["source"], known["id"]),
        extensions=extensions,
        headers=headers,
        raw=event.raw,
        value=event.value,
    )


_KNOWN: Final = frozenset(
    {
        *("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema"),
        *("traceparent", "tracestate"),
    }
)


def _plain(inbound: Inbound, limit: int) -> Inbound | Problem:
    """Return a request as if its body had come uncompressed."""
    coding = (inbound.header(b"content-encoding") or b"identity").strip().lower()
    if coding == b"identity":
        return inbound
    if coding not in CODINGS:
        return Problem(415, "content-encoding", "Only gzip and deflate can be decompressed.")
    body = decompress(inbound.body, coding, limit)
    if body is CompressionFault.TOO_LARGE:
        return _too_large(limit)
    if body is CompressionFault.CORRUPT:
        return Problem(400, "content-encoding", "The body can't be decompressed.")
    return Inbound("POST", PATH, inbound.query, inbound.headers, body, inbound.received_at)


def _too_large(limit: int) -> Problem:
    return Problem(413, "body-size", f"The body is larger than {limit} bytes.")


def _carried(inbound: Inbound) -> Carried | Problem:
    """Return what a request carries, or why it can't be read."""
    try:
        return read(inbound)
    except UnreadableError:
        return _UNREADABLE
    except UnsoundEventError as error:
        return Problem(400, "event", f"This is no sound CloudEvent: {error}.")


_UNREADABLE: Final = Problem(415, "content-type", "Of the structured formats only JSON in UTF-8 is read.")


def _problem_of(event: CloudEvent, caller: Caller) -> Problem | None:
    source, event_type = event.attributes["source"], event.attributes["type"]
    if (
        max(len(escape(source)), len(escape_type(event_type))) > MAX_NAME
        or len(event.attributes["id"]) > MAX_ID
    ):
        detail = f"type and source have at most {MAX_NAME} characters, percent-encoded, and an id {MAX_ID}."
        return Problem(400, "event", detail)
    return scope_problem(caller, source, event_type)
