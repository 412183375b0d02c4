"""Every page of the dashboard with something of every kind on it, and the routes that must be among them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.routing import compile_path

from gateway.access.table import TABLE

if TYPE_CHECKING:
    from tests.browser.conftest import Harbour

ROUTES: Final = tuple(path for method, path in TABLE if method == "GET" and not path.startswith("/api/"))
"""What a browser can be led to."""
NO_PAGES: Final = {
    "/healthz": "a probe's answer",
    "/readyz": "a probe's answer",
    "/metrics": "for Prometheus",
    "/openapi.json": "for programs",
    "/static/{hash}/{name:path}": "what pages load",
    "/live": "the stream that pages listen to",
    "/login/oidc": "leads to an identity provider",
    "/login/callback": "leads back from there",
    "/runs/{run}/{body}/raw": "a body, byte by byte",
}
"""Routes without a page, each with what it is instead."""
_PATTERNS: Final = {route: compile_path(route)[0] for route in ROUTES}


def route_of(address: str) -> str | None:
    """Return the route that an address leads to: of several the one with the most of it in letters."""
    path = urlsplit(address).path
    found = [route for route, pattern in _PATTERNS.items() if pattern.fullmatch(path)]
    return max(found, key=lambda route: len(re.sub(r"{[^}]*}", "", route)), default=None)


def _selected(harbour: Harbour, action: str, what: str = "runs", **where: str) -> str:
    order = {"what": what, "action": action, "where": where, "reason": "<b>"}
    answer = harbour.client.post("/api/v1/bulk", json=order)
    return str(answer.raise_for_status().json()["token"])


def _executed(harbour: Harbour, action: str, **where: str) -> str:
    token = _selected(harbour, action, **where)
    harbour.client.post(f"/api/v1/bulk/{token}/execute").raise_for_status()
    harbour.until(f"/api/v1/bulk/{token}", lambda found: found["state"] == "done")
    return token


def _public_page(harbour: Harbour, run: str) -> str:
    """Return the page on which strangers answer an approval: its link stands in what the run has logged."""

    def links(found: Any) -> list[str]:
        return re.findall(r"https://mill\.example\.com(/t/[\w.~%-]+)", str(found))

    found = harbour.until(f"/api/v1/runs/{run}/logs", links)
    return harbour.public + links(found)[0]


def places(harbour: Harbour) -> dict[str, str]:
    """Every page, with something of every kind on it."""
    run = harbour.trigger("ship", {"name": "<script>alert(1)</script>", "crates": 4})
    failed, sailing = harbour.trigger("leak", 4444), harbour.trigger("sail", 9)
    harbour.until(f"/api/v1/history/runs/{run}", lambda found: found["run"]["status"] == "waiting")
    harbour.until(f"/api/v1/history/runs/{sailing}", lambda found: found["run"]["status"] == "running")
    harbour.until(f"/api/v1/history/runs/{failed}", lambda found: found["run"]["status"] == "failed")
    harbour.until("/api/v1/dead", lambda found: found["dead"])
    (group,) = harbour.until("/api/v1/history/errors?task=leak", lambda found: found["errors"])["errors"]
    harbour.client.post("/api/v1/schedules/tide:yearly/pause").raise_for_status()
    event = harbour.post("zen", b'{"text":"<b>bold</b>"}')
    harbour.post("zen", b"{}", secret="another one")
    harbour.post("pull_request", b'{"action":"opened","number":"<i>seven</i>"}')
    (held,) = harbour.until("/api/v1/quarantine", lambda found: found["quarantine"])["quarantine"]
    silence = {"rule": "drift", "key": "*", "comment": "<b>the tide turns</b>"}
    harbour.client.post("/api/v1/alerts/silences", json=silence).raise_for_status()
    harbour.until("/api/v1/alerts", lambda found: found["alerts"] and found["sent"])
    found = harbour.until("/api/v1/deliveries", lambda found: len(found["deliveries"]) >= 3)["deliveries"]
    taken, refused = (
        next(one for one in found if one["verdict"] == verdict) for verdict in ("accepted", "refused")
    )
    return {
        "bulk-selected": f"/bulk/{_selected(harbour, 'cancel', task='ship')}",
        "bulk-done": f"/bulk/{_executed(harbour, 'retry', task='leak')}",
        "bulk-dead": f"/bulk/{_selected(harbour, 'retry', 'dead', error='water')}",
        "bulk-quarantine": f"/bulk/{_selected(harbour, 'release', 'quarantine', source='github')}",
        "events": "/events",
        "event": f"/events/{event}",
        "deliveries": "/deliveries",
        "quarantine": "/quarantine",
        "quarantine-filtered": "/quarantine?source=github&reason=schema",
        "quarantined": f"/quarantine/{held['key']}",
        "overview": "/",
        "runs": "/runs",
        "runs-filtered": "/runs?text=hold&status=failed",
        "run-waiting": f"/runs/{run}",
        "run-failed": f"/runs/{failed}",
        "replay": f"/runs/{run}/replay",
        "fork": f"/runs/{run}/fork?at=approval%3Aleave",
        "errors": "/errors",
        "error": f"/errors/{group['fingerprint']}",
        "approvals": "/approvals",
        "approval": f"/approvals/{run}.leave",
        "tasks": "/tasks",
        "task": "/tasks/sail",
        "schedules": "/schedules",
        "schedule": "/schedules/tide",
        "schedule-paused": "/schedules/tide%3Ayearly?said=pause",
        "workers": "/workers",
        "dead-letters": "/dead",
        "dead-letters-filtered": "/dead?task=sink&since=1h",
        "alerts": "/alerts",
        "dead-letter": f"/dead/{failed}",
        "sources": "/sources",
        "source": "/sources/github",
        "schemas": "/schemas",
        "schema": "/schemas/github/push",
        "delivery": f"/deliveries/{taken['id']}",
        "delivery-refused": f"/deliveries/{refused['id']}",
        "audit": "/audit",
        "dry-run": f"/dry-run?event={event}",
        "test": "/test?source=github&type=push",
        "test-sent": f"/test?source=github&type=zen&event={event}&status=accepted",
        "test-task": "/test?task=ship",
        "nothing-here": "/nothing",
        "unusable-filter": "/runs?since=nonsense",
        "public-token": _public_page(harbour, run),
    }
