"""The first page: what needs somebody now, rates and failures, queues, and what happened last."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from gateway.dashboard.charts import Chart, chart
from gateway.dashboard.part import Part, part
from gateway.dashboard.run_table import find_runs
from tidemill.history.run_lists import RunQuery

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services
    from tidemill.history.rows import Bucket
    from tidemill.kernel.services.pulse import Pulse, Queue

_RECENT: Final = 10
_QUEUES: Final = 12
_ASKED: Final = 20
_HOUR: Final = 3600
_FRESH: Final = 86_400
_UNMARKED: Final = ("open", "reopened")
_ENDED: Final = {
    "completed": "good",
    "cancelled": "else",
    "expired": "bad",
    "failed": "bad",
    "timed_out": "bad",
    "crashed": "bad",
}
_VERDICTS: Final = {"accepted": "good", "duplicate": "else", "quarantined": "bad", "refused": "bad"}


@dataclass(frozen=True, slots=True)
class Need:
    """Something that waits for a person: how many, and where to go; with `more` at least so many."""

    count: int
    label: str
    url: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class Overview:
    """`GET /`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/", self.show_overview)]

    async def show_overview(self, request: Request) -> Response:
        """How the installation is, and what it needs."""
        services, now = self.services, time.time()
        pulse, needs, runs, ended, requests = await asyncio.gather(
            part(services.pulses.take()),
            self._needs(now),
            find_runs(services, RunQuery(), limit=_RECENT),
            part(services.history.run_rates(span=60, since=now - _HOUR)),
            part(services.history.delivery_rates(span=60, since=now - _HOUR)),
        )
        return services.frame.page(
            request,
            "overview.html",
            title="Overview",
            active="overview",
            live="/live",
            needs=needs.content or [],
            unknown=needs.missing,
            pulse=pulse,
            queues=_busiest(pulse.content) if pulse.content is not None else [],
            runs=runs,
            ended=_chart(ended, _ENDED, now),
            requests=_chart(requests, _VERDICTS, now),
            created=sum(one.count for one in ended.content or () if one.what == "created"),
            took=_mean(ended.content or ()),
            rates_missing=ended.missing,
            now=now,
        )

    async def _needs(self, now: float) -> Part[list[Need]]:
        """Return what waits for a person, what can't be looked up left out and told."""
        services = self.services
        asked, totals, errors, pulse = await asyncio.gather(
            part(services.tokens.list(limit=_ASKED + 1)),
            part(services.history.totals()),
            part(services.history.errors(limit=_ASKED + 1)),
            part(services.pulses.take()),
        )
        parked = sum(one.get("parked", 0) for one in (totals.content or {}).values())
        groups = errors.content.rows if errors.content is not None else ()
        fresh = [one for one in groups if one.state in _UNMARKED and one.last_at > now - _FRESH]
        stores = {store.name: store.messages for store in pulse.content.stores} if pulse.content else {}
        needs = [
            Need(
                min(len(asked.content or ()), _ASKED),
                "approvals and tokens to answer",
                "/approvals",
                len(asked.content or ()) > _ASKED,
            ),
            Need(parked, "parked runs", "/runs?status=parked"),
            Need(
                min(len(fresh), _ASKED),
                "errors of the last day that nobody has marked",
                "/errors",
                len(fresh) > _ASKED,
            ),
            Need(stores.get("DEAD", 0), "dead letters", "/dead"),
            Need(stores.get("QUARANTINE", 0), "entries in the quarantine", "/quarantine"),
        ]
        missing = asked.missing or totals.missing or errors.missing or pulse.missing
        return Part([need for need in needs if need.count], missing)


def _busiest(pulse: Pulse) -> list[Queue]:
    """Return the queues in which something waits or is executed, the longest first."""
    busy = [queue for queue in pulse.queues if queue.waiting or queue.executing]
    return sorted(busy, key=lambda queue: (-queue.waiting, -queue.executing, queue.task))[:_QUEUES]


def _chart(buckets: Part[list[Bucket]], kinds: dict[str, str], now: float) -> Chart | None:
    if buckets.content is None:
        return None
    return chart(buckets.content, kinds, span=60, begin=now - _HOUR, until=now)


def _mean(buckets: list[Bucket] | tuple[Bucket, ...]) -> float | None:
    """Return how long completed runs took, from their first claim to the end."""
    done = [bucket for bucket in buckets if bucket.what == "completed"]
    number = sum(bucket.count for bucket in done)
    return sum(bucket.seconds for bucket in done) / number if number else None
