"""Reaching Tidemill over HTTP: the control listener's `/api/v1`, with an API key where it wants one."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
import orjson

from tidemill.kernel.errors import (
    ConflictError,
    ControlError,
    ExpiredError,
    NotAllowedError,
    NotFoundError,
    PayloadError,
    SettingsError,
    TidemillError,
)
from tidemill.transport import RunOutcome, Transport

if TYPE_CHECKING:
    from tidemill.kernel.decision import Decision
    from tidemill.kernel.trigger import TriggerRequest

ENDED: Final = frozenset({"completed", "failed", "cancelled", "expired", "timed_out", "crashed"})
_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_FIRST_PAUSE: Final = 0.05
_PAUSE_GROWTH: Final = 1.5
_LONGEST_PAUSE: Final = 2.0
_POLL_FAILURES: Final = 5
_REFUSED: Final = frozenset({400, 413, 415, 422})
_UNAUTHORISED: Final = frozenset({401, 403})
_KINDS: Final[dict[int, type[TidemillError]]] = {404: NotFoundError, 409: ConflictError, 410: ExpiredError}


@dataclass(slots=True)
class HttpTransport(Transport):
    """Talks to a control listener.

    Between `open` and `close` connections are kept; without `open` each request has one of its own, so
    that it may be used from any event loop and leaves nothing behind.

    Attributes:
        url: the control listener's URL.
        key: an API key, where the listener wants one.
        wire: httpx's transport; for tests.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    wire: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    _kept: httpx.AsyncClient | None = field(default=None, init=False, repr=False)

    async def open(self) -> None:
        """Keep connections from now on, for requests of this event loop."""
        self._kept = self._new_client()

    async def close(self) -> None:
        """Close the kept connections."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.aclose()

    async def trigger(self, request: TriggerRequest) -> str:
        """Create a run and return its id; without an idempotency key it is never sent twice.

        Raises:
            NotFoundError: there is no such task.
            PayloadError: payload or options were refused.
            ControlError: the listener can't be reached or answers something else.
        """
        body = b'{"payload":' + request.payload + b',"options":' + orjson.dumps(request.options()) + b"}"
        answer = await self._request(
            "POST", f"tasks/{quote(request.task_id, safe='')}/trigger", body, keyed(request.idempotency_key)
        )
        return str(self._member(answer, "run_id"))

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        """Ask until the run has ended, less and less often; a listener that restarts meanwhile is waited for.

        Raises:
            TimeoutError: the run hasn't ended in time.
            NotFoundError: there is no such run.
            ControlError: the listener couldn't be reached several times in a row.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, failures = _FIRST_PAUSE, 0
        while True:
            try:
                found = await self._request("GET", f"runs/{quote(run_id, safe='')}")
                failures = 0
            except ControlError:
                failures += 1
                if failures >= _POLL_FAILURES:
                    raise
            else:
                if self._member(found, "status") in ENDED:
                    return _outcome(found)
            await asyncio.sleep(_pause_until(deadline, pause, run_id))
            pause = min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended already.
            ControlError: the listener can't be reached or answers something else.
        """
        body = orjson.dumps({"reason": reason})
        await self._request("POST", f"runs/{quote(run_id, safe='')}/cancel", body)

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:
        """Send a run a signal.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended, or the key was used with other data.
            PayloadError: name, key or data can't be used.
            ControlError: the listener can't be reached or answers something else.
        """
        path = f"runs/{quote(run_id, safe='')}/signals/{quote(name, safe='')}"
        await self._request("POST", path, b'{"data":' + data + b"}", keyed(key))

    async def send_answer(self, token_id: str, decision: Decision) -> None:
        """Answer a token or an approval.

        Raises:
            NotFoundError: there is no such token.
            NotAllowedError: somebody else is asked.
            ConflictError: it was decided before, or nobody waits for it any more.
            PayloadError: the answer doesn't fit what is asked for.
            ControlError: the listener can't be reached or answers something else.
        """
        path = f"tokens/{quote(token_id, safe='')}/complete"
        await self._request("POST", path, orjson.dumps(decision.document()), keyed(decision.key))

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=_TIMEOUT, transport=self.wire, verify=_tls(), trust_env=False)

    async def _request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return self._answer(await self._respond(method, path, body, headers))

    async def _respond(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        sent = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        if self.key:
            sent["Authorization"] = f"Bearer {self.key}"
        url = f"{self.url.rstrip('/')}/api/v1/{path}"
        try:
            return await self._send(method, url, body, sent)
        except httpx.HTTPError as error:
            raise ControlError(
                f"{method} {url} failed: {str(error) or type(error).__name__}",
                hint="is the gateway running there? [client] url, or TIDEMILL_CLIENT__URL, says where it is",
            ) from error

    async def _send(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        if self._kept is not None:
            return await self._kept.request(method, url, content=body, headers=headers)
        async with self._new_client() as client:
            return await client.request(method, url, content=body, headers=headers)

    def _answer(self, response: httpx.Response) -> dict[str, Any]:
        answer = _json_object(response.content)
        if response.is_success and answer is not None:
            return answer
        problem = answer or {}
        told = problem.get("detail") or problem.get("title") or f"HTTP {response.status_code}"
        raise _refusal(
            response.status_code,
            f"{response.url.path}: {told}",
            str(problem.get("hint", "")),
            str(problem.get("type", "")),
        )

    def _member(self, answer: dict[str, Any], name: str) -> object:
        if name not in answer:
            raise ControlError(
                f"the answer of {self.url} has no {name!r}",
                hint="is that the control listener of a Tidemill?",
            )
        return answer[name]


@cache
def _tls() -> ssl.SSLContext:
    """Return the TLS context of all requests: building one takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


def keyed(key: str | None) -> dict[str, str]:
    """Return the header of an idempotency key, where there is one."""
    return {"Idempotency-Key": key} if key else {}


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _refusal(status: int, sentence: str, hint: str, kind: str) -> TidemillError:
    """Return the error that a status stands for, and a problem's type."""
    if kind.endswith(":not-allowed"):
        return NotAllowedError(sentence, hint=hint)
    if status in _UNAUTHORISED:
        return SettingsError(
            sentence, hint=hint or "set [client] key, or TIDEMILL_CLIENT__KEY, to an API key"
        )
    if status in _KINDS:
        return _KINDS[status](sentence, hint=hint)
    if status in _REFUSED:
        return PayloadError(sentence, hint=hint)
    return ControlError(sentence, hint=hint)


def _pause_until(deadline: float | None, pause: float, run_id: str) -> float:
    """Return how long to sleep before the next question."""
    if deadline is None:
        return pause
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(f"run {run_id} hasn't ended in time; it goes on")
    return min(pause, left)


def _outcome(found: dict[str, Any]) -> RunOutcome:
    error = found.get("error") or {}
    return RunOutcome(
        state=found["status"],
        result=orjson.dumps(found.get("result")),
        error=str(error.get("message", "")),
        error_type=str(error.get("type", "")),
    )
