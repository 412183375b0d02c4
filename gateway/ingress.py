"""The way in: `POST /webhooks/{source}[/{tenant}]` as a plain ASGI callable.

Other methods reach a source only where its provider asks in them whether the address is ours. Every
request gets exactly one answer, and a 2xx only after the broker has acknowledged what it brought (B1).
What a stranger sends is never an error of ours: only a broker that doesn't take events is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.answer import Answer
from gateway.body import Budget, Fault, declared_length, read_body
from gateway.clients import Clients
from gateway.depot import Depot
from gateway.inbound import Inbound
from gateway.introductions import UnvisitedError
from gateway.judge import Judge
from gateway.keys.judging import keys_away
from gateway.keys.store import KeysAwayError
from gateway.limits import gate_of
from gateway.metrics import UNKNOWN, Metrics
from gateway.outcome import Outcome
from gateway.problem import RETRY_AFTER, UNEXPECTED, Problem, method_not_allowed
from gateway.receipt import DUPLICATE, Receipts, entries, static_answer, status_of
from gateway.tenants import LockedError
from gateway.verdict import Accepted, Batch, Handshaken, Refused
from gateway.waiting import GONE
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError, StreamFullError
from tidemill.kernel.services.tenant_record import NAME as TENANT

if TYPE_CHECKING:
    from gateway.body import Receive, Send
    from gateway.intake import Intake
    from gateway.introductions import Introductions
    from gateway.keeping import Keeper
    from gateway.keys.store import KeyStore
    from gateway.limits import Gate
    from gateway.logbook import Logbook
    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.spool.spool import Spool
    from gateway.tenants import TenantRings
    from gateway.verdict import Quarantined
    from gateway.waiting import Senders
    from tidemill.kernel.services.windows import Windows

_log = logging.getLogger(__name__)

PREFIX: Final = b"/webhooks/"
REQUIRED: Final = "required"
_NO_SOURCE: Final = "There is no such source."
_NO_TENANT: Final = (
    "A tenant is 1 to 64 letters, digits, dots, hyphens and underscores, and neither '.' nor '..'."
)
_REFUSED, _UNAVAILABLE, _FAILED, _HANDSHAKE = "refused", "unavailable", "failed", "handshake"
_POST: Final = "POST"

Scope = Mapping[str, Any]


class Ingress:
    """Serves webhooks of the configured sources."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        intakes: Mapping[str, Intake],
        publisher: Publisher,
        recorder: Recorder,
        metrics: Metrics,
        *,
        introductions: Introductions | None = None,
        keys: KeyStore | None = None,
        windows: Windows | None = None,
        rings: TenantRings | None = None,
        spool: Spool | None = None,
        clients: Clients | None = None,
        gate: Gate | None = None,
        senders: Senders | None = None,
        logbook: Logbook | None = None,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desks = {name.encode(): _Desk.of(intake) for name, intake in intakes.items()}
        self._usual = {
            PREFIX + name: _Target(desk, None, (PREFIX + name).decode())
            for name, desk in self._desks.items()
            if desk.intake.tenants != REQUIRED
        }
        self._clients = clients or Clients()
        self._gate = gate
        self._senders = senders
        self._depot = Depot(publisher, recorder, windows, spool)
        self._introductions = introductions
        self._logbook = logbook
        self._judge = Judge(introductions, rings, keys)
        self._keeper = keeper
        self._metrics = metrics
        self._clock = clock
        self._budget = Budget()
        self._storing = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = time.perf_counter()
        target = self._usual.get(scope.get("raw_path", b"")) or self._target(scope)
        if isinstance(target, Outcome):
            outcome = target
        else:
            unlimited = self._gate is None and target.desk.gate is None
            serve = self._safely if unlimited else self._limited
            outcome = await serve(target, scope, receive)
        self._write_down(target, scope, outcome, time.perf_counter() - started)
        if outcome.answer is not None:
            await outcome.answer.send(send, receive)

    def _write_down(self, target: _Target | Outcome, scope: Scope, outcome: Outcome, seconds: float) -> None:
        """Count a request, and keep what it came to."""
        source, tenant = (None, None) if isinstance(target, Outcome) else (target.source, target.tenant)
        self._metrics.request(source or UNKNOWN, outcome.verdict, outcome.size, seconds)
        if outcome.refused is not None:
            self._metrics.refused[source or UNKNOWN, outcome.refused.check] += 1
        if outcome.secret is not None and source is not None and tenant is None:
            self._metrics.secrets[source, str(outcome.secret)] += 1
        if self._logbook is not None:
            self._logbook.write_down(source, tenant, scope, outcome, seconds, self._clients.address(scope))

    def _target(self, scope: Scope) -> _Target | Outcome:
        """Find the source and the tenant that a path names, by its percent-encoded segments."""
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogatepass")
        segments = raw.partition(b"?")[0].removeprefix(PREFIX).split(b"/")
        desk = self._desks.get(_decoded(segments[0]))
        if desk is None or len(segments) > 2:  # noqa: PLR2004 - a source and a tenant
            return self._unknown(_NO_SOURCE)
        tenant = None
        if len(segments) == 1 and desk.intake.tenants == REQUIRED:
            return self._unknown(_NO_SOURCE)
        if len(segments) > 1:
            tenant = _decoded(segments[1]).decode("latin-1")
            if not TENANT.fullmatch(tenant):
                return self._unknown(_NO_TENANT)
        return _Target(desk, tenant, raw.decode("latin-1"))

    def _unknown(self, detail: str) -> Outcome:
        refused = Refused(HTTPStatus.NOT_FOUND, "unknown_source", detail)
        answer = Answer.problem(Problem(404, "unknown-source", detail), unread=True)
        return Outcome(answer, _REFUSED, refused=refused)

    async def _limited(self, target: _Target, scope: Scope, receive: Receive) -> Outcome:
        """Answer a request within the limits of all sources and its own."""
        client = self._clients.address(scope)
        entered: list[Gate] = []
        try:
            for gate in (self._gate, target.desk.gate):
                problem = gate.enter(client) if gate is not None else None
                if problem is not None:
                    return _turned_away(problem.kind, problem)
                if gate is not None:
                    entered.append(gate)
            return await self._safely(target, scope, receive)
        finally:
            for gate in entered:
                gate.leave()

    async def _safely(self, target: _Target, scope: Scope, receive: Receive) -> Outcome:
        try:
            outcome = await self._handle(target, scope, receive)
            return outcome if outcome.waiting is None else await self._reply(outcome, receive)
        except BrokerError as error:
            return self._unavailable(error)
        except UnvisitedError:
            return Outcome(Answer.problem(_UNVISITED), _UNAVAILABLE)
        except LockedError:
            return Outcome(Answer.problem(_LOCKED), _UNAVAILABLE)
        except KeysAwayError as error:
            return Outcome(Answer.problem(keys_away(error.retry_after)), _UNAVAILABLE)
        except Exception:  # noqa: BLE001 - the last resort: one answer, and the log has the traceback
            _log.exception("a request to %s failed", target.source)
            return Outcome(Answer.problem(UNEXPECTED, unread=True), _FAILED)

    async def _handle(self, target: _Target, scope: Scope, receive: Receive) -> Outcome:
        method, intake = scope["method"], target.desk.intake
        if method != _POST and method not in intake.methods:
            allowed = ", ".join(sorted({_POST, *intake.methods}))
            return _turned_away("method", method_not_allowed(allowed))
        headers = scope["headers"]
        body = await read_body(receive, declared_length(headers), intake.max_body, self._budget)
        if isinstance(body, Fault):
            return _without_body(body, intake.max_body)
        inbound = Inbound(
            method, target.path, scope["query_string"].decode("latin-1"), headers, body, self._clock()
        )
        verdict, check = await self._judge.judge(intake, inbound, target.tenant)
        if isinstance(verdict, Refused):
            kept = None
            if self._keeper is not None:
                client = self._clients.address(scope)
                kept = await self._keeper.keep(inbound, intake.source, target.tenant, check, client)
            return _refuse(verdict, target, len(body), check)._replace(kept=kept)
        if isinstance(verdict, Handshaken):
            return await self._shake(verdict, target, scope, len(body))
        return await self._store(verdict, target, scope, len(body))

    async def _store(
        self, verdict: Accepted | Quarantined | Batch, target: _Target, scope: Scope, size: int
    ) -> Outcome:
        desk, client = target.desk, self._clients.address(scope)
        derived = desk.intake.derived
        try:
            if isinstance(verdict, Batch):
                taken = await self._depot.store_batch(verdict, client, desk.intake.window)
                answer, written = desk.receipts.many(taken), entries(taken)
                outcome = Outcome(answer, status_of(taken), size, written, _secret(verdict))
            else:
                outcome = await self._store_one(verdict, desk, client, size)
        except BrokerError:
            derived.keep(*_delivery(verdict))
            raise
        if derived.keeps:
            derived.forget(_delivery(verdict)[0])
        if not self._storing:
            _log.warning("events are stored again")
            self._storing = True
        return outcome

    async def _store_one(
        self, verdict: Accepted | Quarantined, desk: _Desk, client: str, size: int
    ) -> Outcome:
        intake, waiting = desk.intake, None
        if intake.reply_timeout is None or self._senders is None:
            one = await self._depot.store(verdict, client, intake.window)
            return Outcome(desk.receipts.one(one), one.status, size, entries((one,)), _secret(verdict))
        until = asyncio.get_running_loop().time() + intake.reply_timeout
        waiting = self._senders.waiting(intake.source, until)
        try:
            one = await self._depot.store(verdict, client, intake.window, waiting)
        except BaseException:
            await waiting.close()
            raise
        written = entries((one,))
        return Outcome(desk.receipts.one(one), one.status, size, written, _secret(verdict), waiting=waiting)

    async def _reply(self, outcome: Outcome, receive: Receive) -> Outcome:
        """Wait for what a run answers; until then nothing of the request is kept in memory."""
        receipt, waiting = outcome.answer, outcome.waiting
        if receipt is None or waiting is None:
            raise AssertionError("only who gets a receipt waits")
        reply = await waiting.answer(receive, duplicate=outcome.verdict == DUPLICATE)
        self._metrics.replies[waiting.source, waiting.outcome] += 1
        if waiting.outcome == GONE:
            return outcome._replace(answer=None)
        headers = (*receipt.headers, (b"tidemill-reply", waiting.outcome.encode()))
        if reply is None:
            return outcome._replace(answer=receipt._replace(headers=headers))
        media_type = reply.media_type.encode() if reply.body else b""
        return outcome._replace(answer=Answer(reply.status, media_type, reply.body, headers))

    async def _shake(self, shaken: Handshaken, target: _Target, scope: Scope, size: int) -> Outcome:
        """Answer a handshake, after what it asks for is done."""
        if self._introductions is not None:
            client = self._clients.address(scope)
            refused = await self._introductions.finish(shaken, target.source, target.tenant, client)
            if refused is not None:
                return _refuse(refused, target, size, refused.check)
        elif shaken.learn or shaken.visit:
            raise TypeError(f"the handshake {shaken.name!r} needs introductions")
        return Outcome(shaken.answer, _HANDSHAKE, size)

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


class _Desk(NamedTuple):
    """A source with its fixed answers."""

    intake: Intake
    receipts: Receipts
    refusal: Answer | None
    gate: Gate | None

    @classmethod
    def of(cls, intake: Intake) -> _Desk:
        recipe = intake.recipe
        refusal = static_answer(recipe.refusal) if recipe.refusal else None
        return cls(intake, Receipts(recipe.answer), refusal, gate_of(intake.limits))


class _Target(NamedTuple):
    """What a path leads to."""

    desk: _Desk
    tenant: str | None
    path: str

    @property
    def source(self) -> str:
        return self.desk.intake.source


_UNVISITED: Final = Problem(
    503, "unconfirmed", "The address that confirms could not be fetched.", headers=(RETRY_AFTER,)
)
_LOCKED: Final = Problem(
    503, "secret-locked", "The secret to verify with can't be read just now.", headers=(RETRY_AFTER,)
)


def _without_body(fault: Fault, limit: int) -> Outcome:
    if fault is Fault.GONE:
        return Outcome(None, "disconnected")
    if fault is Fault.BUSY:
        problem = Problem(503, "busy", "Too many large requests at the same time.", headers=(RETRY_AFTER,))
        return Outcome(Answer.problem(problem, unread=True), _UNAVAILABLE)
    detail = f"The body is larger than the {limit} bytes that this source takes."
    return _turned_away("body_size", Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-size", detail))


def _turned_away(check: str, problem: Problem) -> Outcome:
    """Refuse a request before its body is read."""
    refused = Refused(problem.status, check, problem.detail)
    return Outcome(Answer.problem(problem, unread=True), _REFUSED, refused=refused)


def _refuse(verdict: Refused, target: _Target, size: int, check: str) -> Outcome:
    """Refuse a request; `check` is what its operator is told, where its sender mustn't know."""
    refused = Refused(verdict.status, check, verdict.detail)
    if verdict.status == HTTPStatus.UNAUTHORIZED and target.desk.refusal is not None:
        return Outcome(target.desk.refusal, _REFUSED, size, refused=refused)
    kind = verdict.check.replace("_", "-")
    problem = Problem(verdict.status, kind, verdict.detail, members={"check": verdict.check})
    return Outcome(Answer.problem(problem), _REFUSED, size, refused=refused)


def _secret(verdict: Accepted | Quarantined | Batch) -> int | None:
    """Return the index of the secret that matched, as far as the verdict tells."""
    if isinstance(verdict, Accepted):
        return verdict.secret
    items = verdict.items if isinstance(verdict, Batch) else ()
    return next((item.secret for item in items if isinstance(item, Accepted)), None)


def _delivery(verdict: Accepted | Quarantined | Batch) -> tuple[bytes, str]:
    """Return the body and the id of what a verdict is about."""
    if isinstance(verdict, Batch):
        return verdict.raw, verdict.id
    return verdict.envelope.raw, verdict.envelope.id


def _reason(error: BrokerError) -> str:
    if isinstance(error, StreamFullError):
        return "storage-full"
    return "broker-away" if isinstance(error, BrokerUnavailableError) else "broker-refused"


def _decoded(segment: bytes) -> bytes:
    return unquote_to_bytes(segment) if b"%" in segment else segment
