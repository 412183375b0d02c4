"""The way in: `POST /webhooks/{source}[/{tenant}]` as a plain ASGI callable.

Every request gets exactly one answer, and a 2xx only after the broker has acknowledged what it brought
(B1). What a stranger sends is never an error of ours: only a broker that doesn't take events is.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.answer import Answer
from gateway.body import Budget, Fault, declared_length, read_body
from gateway.inbound import Inbound
from gateway.metrics import UNKNOWN, Metrics
from gateway.problem import RETRY_AFTER, UNEXPECTED, Problem, method_not_allowed
from gateway.recorder import Refusal
from gateway.verdict import Quarantined, Refused
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError, StreamFullError

if TYPE_CHECKING:
    from gateway.body import Receive, Send
    from gateway.intake import Intake
    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.verdict import Accepted
    from tidemill.kernel.envelope import Envelope

_log = logging.getLogger(__name__)

PREFIX: Final = b"/webhooks/"
_TENANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ACCEPTED, _DUPLICATE, _QUARANTINED = "accepted", "duplicate", "quarantined"
_REFUSED, _UNAVAILABLE, _FAILED = "refused", "unavailable", "failed"

Scope = Mapping[str, Any]


class Outcome(NamedTuple):
    """What a request came to: its answer, None where its client has gone; and how it is counted."""

    answer: Answer | None
    verdict: str
    size: int = 0


class Ingress:
    """Serves webhooks of the configured sources."""

    def __init__(
        self,
        intakes: Mapping[str, Intake],
        publisher: Publisher,
        recorder: Recorder,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._intakes = {name.encode(): intake for name, intake in intakes.items()}
        self._usual = {
            PREFIX + name: _Target(intake, None, (PREFIX + name).decode())
            for name, intake in self._intakes.items()
        }
        self._publisher = publisher
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._budget = Budget()
        self._storing = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        target = self._usual.get(scope.get("raw_path", b"")) or self._target(scope)
        if isinstance(target, Answer):
            source, outcome = UNKNOWN, Outcome(target, _REFUSED)
        else:
            source = target.intake.source
            outcome = await self._safely(target, scope, receive)
        self._metrics.request(source, outcome.verdict, outcome.size, time.perf_counter() - started)
        if outcome.answer is not None:
            await outcome.answer.send(send, receive)

    def _target(self, scope: Scope) -> _Target | Answer:
        """Find the source and the tenant that a path names, by its percent-encoded segments."""
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
        segments = raw.partition(b"?")[0].removeprefix(PREFIX).split(b"/")
        intake = self._intakes.get(_decoded(segments[0]))
        if intake is None or len(segments) > 2:  # noqa: PLR2004 - a source and a tenant
            return self._unknown("There is no such source.")
        tenant = None
        if len(segments) > 1:
            tenant = _decoded(segments[1]).decode("latin-1")
            if not _TENANT.fullmatch(tenant):
                return self._unknown("A tenant is 1 to 64 letters, digits, dots, hyphens and underscores.")
        return _Target(intake, tenant, raw.decode("latin-1"))

    def _unknown(self, detail: str) -> Answer:
        self._metrics.refused[UNKNOWN, "unknown_source"] += 1
        return Answer.problem(Problem(404, "unknown-source", detail), unread=True)

    async def _safely(self, target: _Target, scope: Scope, receive: Receive) -> Outcome:
        try:
            return await self._handle(target, scope, receive)
        except BrokerError as error:
            return self._unavailable(error)
        except Exception:  # noqa: BLE001 - the last resort: one answer, and the log has the traceback
            _log.exception("a request to %s failed", target.intake.source)
            return Outcome(Answer.problem(UNEXPECTED, unread=True), _FAILED)

    async def _handle(self, target: _Target, scope: Scope, receive: Receive) -> Outcome:
        if scope["method"] != "POST":
            return self._turned_away(target, "method", method_not_allowed("POST"))
        intake, headers = target.intake, scope["headers"]
        body = await read_body(receive, declared_length(headers), intake.max_body, self._budget)
        if isinstance(body, Fault):
            return self._without_body(body, target, scope)
        inbound = Inbound(
            "POST", target.path, scope["query_string"].decode("latin-1"), headers, body, self._clock()
        )
        verdict = intake.receive(inbound, target.tenant)
        if isinstance(verdict, Refused):
            return self._refuse(verdict, target, scope, len(body))
        return await self._store(verdict, scope, len(body))

    async def _store(self, verdict: Accepted | Quarantined, scope: Scope, size: int) -> Outcome:
        verdict = self._publisher.fit(verdict)
        envelope = verdict.envelope
        if isinstance(verdict, Quarantined):
            stored = await self._publisher.quarantine(envelope, verdict.reason)
            status = _DUPLICATE if stored.duplicate else _QUARANTINED
        else:
            stored = await self._publisher.accept(envelope)
            status = _DUPLICATE if stored.duplicate else _ACCEPTED
        if not self._storing:
            _log.warning("events are stored again")
            self._storing = True
        if stored.duplicate:
            self._recorder.duplicate(envelope, _client(scope))
        return Outcome(_receipt(envelope, status), status, size)

    def _without_body(self, fault: Fault, target: _Target, scope: Scope) -> Outcome:
        if fault is Fault.GONE:
            return Outcome(None, "disconnected")
        if fault is Fault.BUSY:
            problem = Problem(
                503, "busy", "Too many large requests at the same time.", headers=(RETRY_AFTER,)
            )
            return Outcome(Answer.problem(problem, unread=True), _UNAVAILABLE)
        detail = f"The body is larger than the {target.intake.max_body} bytes that this source takes."
        self._note(Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_size", detail), target, scope, 0)
        return Outcome(Answer.problem(Problem(413, "body-size", detail), unread=True), _REFUSED)

    def _turned_away(self, target: _Target, check: str, problem: Problem) -> Outcome:
        self._metrics.refused[target.intake.source, check] += 1
        return Outcome(Answer.problem(problem, unread=True), _REFUSED)

    def _refuse(self, verdict: Refused, target: _Target, scope: Scope, size: int) -> Outcome:
        self._note(verdict, target, scope, size)
        kind = verdict.check.replace("_", "-")
        problem = Problem(verdict.status, kind, verdict.detail, members={"check": verdict.check})
        return Outcome(Answer.problem(problem), _REFUSED, size)

    def _note(self, verdict: Refused, target: _Target, scope: Scope, size: int) -> None:
        source = target.intake.source
        self._metrics.refused[source, verdict.check] += 1
        self._recorder.refused(
            Refusal(
                source, target.tenant, verdict.status, verdict.check, verdict.detail, _client(scope), size
            )
        )

    def _unavailable(self, error: BrokerError) -> Outcome:
        """Answer 503: the sender keeps the delivery and sends it again."""
        reason = _reason(error)
        if self._storing:
            _log.error("events can't be stored, senders are answered 503: %s", error)
        self._storing = False
        self._metrics.publish_failures[reason,] += 1
        detail = "The event could not be stored just now. Send it again."
        problem = Problem(503, reason, detail, headers=(RETRY_AFTER,))
        return Outcome(Answer.problem(problem), _UNAVAILABLE)


class _Target(NamedTuple):
    intake: Intake
    tenant: str | None
    path: str


def _receipt(envelope: Envelope, status: str) -> Answer:
    """Return the 202 of a stored event."""
    headers = ((b"tidemill-event-id", envelope.id.encode()), (b"tidemill-status", status.encode()))
    return Answer.json(202, {"id": envelope.id, "type": envelope.type, "status": status}, headers)


def _reason(error: BrokerError) -> str:
    if isinstance(error, StreamFullError):
        return "storage-full"
    return "broker-away" if isinstance(error, BrokerUnavailableError) else "broker-refused"


def _decoded(segment: bytes) -> bytes:
    return unquote_to_bytes(segment) if b"%" in segment else segment


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])
