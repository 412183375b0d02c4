"""Verifying refused requests again, after a secret was mended: what is genuine goes in as if just posted.

Time stands still for them: a signed timestamp is held against the moment at which the request came, so that
what was stale then is stale now. A delivery that came again meanwhile, and was taken, is a duplicate.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from gateway.inbound import Inbound
from gateway.keys.store import KeysAwayError
from gateway.outcome import Outcome
from gateway.receipt import entries, status_of
from gateway.tenants import LockedError
from gateway.verdict import Batch, Handshaken, Refused
from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import NotFoundError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.depot import Depot
    from gateway.intake import Intake
    from gateway.judge import Judge
    from gateway.logbook import Logbook
    from gateway.receipt import Taken
    from gateway.verdict import Accepted, Quarantined
    from tidemill.kernel.services.kept import KeptRequest, KeptRequests

MOST: Final = 200
"""Requests that one call looks at."""
GENUINE: Final = "genuine"
_HANDSHAKE: Final = "handshake"
_UNAVAILABLE: Final = "unavailable"


class Progress(NamedTuple):
    """How far a reverification has come: everything up to a sequence of a source was looked at."""

    source: str
    seq: int

    def __str__(self) -> str:
        return f"{self.source}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            PayloadError: it isn't that.
        """
        source, _, seq = text.rpartition(":")
        if not source or not (seq.isascii() and seq.isdigit() and len(seq) < 19):  # noqa: PLR2004 - 64 bits
            raise PayloadError(
                f"after={text!r} can't be used", hint="write what the call before gave as `next`"
            )
        return cls(source, int(seq))


class Reverification:
    """Verifies kept requests with the secrets of today.

    Args:
        kept: the requests.
        intakes: the sources that keep what they refuse, by name.
        judge: knows the secrets that aren't in the settings.
        depot: stores what is genuine.
        logbook: where that is written down.
    """

    def __init__(
        self,
        kept: KeptRequests,
        intakes: Mapping[str, Intake],
        judge: Judge,
        depot: Depot,
        logbook: Logbook,
    ) -> None:
        self._kept = kept
        self._intakes = intakes
        self._judge = judge
        self._depot = depot
        self._logbook = logbook

    async def run(
        self, source: str | None, *, dry: bool = False, after: Progress | None = None, limit: int = MOST
    ) -> dict[str, Any]:
        """Verify up to `limit` requests again; say what became of each, and as `next` how to go on.

        Args:
            source: of this source only.
            dry: change nothing.
            after: where the call before has ended.
            limit: at most so many.

        Raises:
            NotFoundError: the source keeps nothing.
            BrokerError: the broker doesn't store or can't be read; repeating it is safe.
        """
        rows: list[dict[str, Any]] = []
        for name in self._wanted(source, after):
            start = after.seq if after is not None and after.source == name else 0
            async for request in self._kept.after(name, start):
                if len(rows) >= limit:
                    return {"reverified": rows, "next": str(Progress(name, start))}
                rows.append(await self.one(request, dry=dry))
                start = request.seq
        return {"reverified": rows, "next": None}

    def _wanted(self, source: str | None, after: Progress | None) -> Sequence[str]:
        if source is not None and source not in self._intakes:
            raise NotFoundError(
                f"there is no source {source!r} that keeps refused requests",
                hint=f"set sources.{source}.keep_refused, if that is one of `tidemill sources list`",
            )
        names = sorted(self._intakes) if source is None else [source]
        return [name for name in names if after is None or name >= after.source]

    async def find(self, source: str | None, name: str) -> KeptRequest | None:
        """Return the request that is kept under a name, of a source or of any; None where there is none.

        Raises:
            NotFoundError: the source keeps nothing.
            BrokerError: it can't be read.
        """
        for wanted in self._wanted(source, None):
            request = await self._kept.find(wanted, name)
            if request is not None:
                return request
        return None

    async def one(self, request: KeptRequest, *, dry: bool) -> dict[str, Any]:
        """Verify a request again, and say what became of it.

        Raises:
            BrokerError: the broker doesn't store; repeating it is safe.
        """
        if request.problem is not None:
            unknown = dict.fromkeys(("at", "tenant", "client", "size"))
            told = {"source": request.source, "verdict": _UNAVAILABLE, "detail": request.problem}
            return {"id": request.name, **unknown, **told}
        facts, started = request.facts, time.perf_counter()
        row = {
            "id": request.name,
            "at": rfc3339_at(facts["at"]),
            "source": request.source,
            "tenant": facts.get("tenant"),
            "client": facts.get("client"),
            "size": len(request.body),
        }
        try:
            verdict, check = await self._judge.judge(
                self._intakes[request.source], _inbound(request), facts.get("tenant")
            )
        except (LockedError, KeysAwayError) as error:
            return row | {"verdict": _UNAVAILABLE, "detail": str(error) or type(error).__name__}
        if isinstance(verdict, Refused):
            return row | {"verdict": "refused", "reason": check, "detail": verdict.detail}
        if dry:
            return row | {"verdict": GENUINE}
        if isinstance(verdict, Handshaken):
            await self._kept.remove(request)
            return row | {"verdict": _HANDSHAKE}
        taken = await self._store(verdict, request)
        status = status_of(taken)
        outcome = Outcome(None, status, len(request.body), entries(taken))
        self._logbook.let_in(request, outcome, time.perf_counter() - started)
        await self._kept.remove(request)
        return row | {"verdict": status, "events": outcome.events}

    async def _store(self, verdict: Accepted | Quarantined | Batch, request: KeptRequest) -> Sequence[Taken]:
        client, window = str(request.facts.get("client")), self._intakes[request.source].window
        if isinstance(verdict, Batch):
            return await self._depot.store_batch(verdict, client, window)
        return [await self._depot.store(verdict, client, window)]


def _inbound(request: KeptRequest) -> Inbound:
    """Return a request as it came, at the time at which it came.

    Where nothing tells its deliveries apart its own name does, so that one that is let in twice is one event.
    """
    facts = request.facts
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in facts["headers"]]
    named = f"kept-{request.name}"
    return Inbound(
        facts["method"], facts["path"], facts["query"], headers, request.body, facts["at"], named=named
    )
