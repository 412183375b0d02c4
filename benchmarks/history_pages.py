"""How fast the dashboard and the API show a large history: every list and filter, over HTTP.

    python benchmarks/history_pages.py --url sqlite:////data/history.db [--asked 40] [--only text]

A gateway in a process of its own, beside a broker, is asked by one client on one connection. Printed are the
times from the request to the last byte of the answer, the time of the processor that the gateway took, and
how long an answer is; pages of the dashboard are compressed as browsers ask for them. PostgreSQL's own time
is on the clock only.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import re
import time
from dataclasses import replace
from urllib.parse import quote, urlencode

from bench_site import Site, cpu_seconds, machine, site
from history import RUN_LISTS, nearest, open_history, size
from history_made import DAY

from gateway.api.run_query import address_of
from tidemill.history.run_lists import RunQuery

NOW = time.time()
Queries = tuple[dict[str, object], ...]
EVENTS: Queries = (
    {},
    {"type": "github.push"},
    {"source": "github"},
    {"source": "github", "type": "stripe.paid", "since": NOW - 9 * DAY},
)
DELIVERIES: Queries = (
    {},
    {"source": "shop"},
    {"verdict": "duplicate"},
    {"verdict": "duplicate", "source": "shop"},
    {"verdict": "accepted", "source": "shop"},
    {"verdict": "refused", "reason": "stale"},
    {"reason": "nothing", "since": NOW - 9 * DAY},
)
ERRORS: Queries = ({}, {"task": "task-1"}, {"state": "resolved"})
RATES: Queries = (
    {"span": 60, "since": NOW - 10_800},
    {"span": 3600, "since": NOW - 30 * DAY},
    {"span": 3600, "since": NOW - 30 * DAY, "task": "task-3", "source": "shop"},
)
_API = "/api/v1/history"


class Client:
    """Asks one gateway, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, address: str) -> bytes:
        """Return an answer's body as it came.

        Raises:
            RuntimeError: it is no success.
        """
        accepted = "application/json" if address.startswith("/api") else "text/html"
        self._connection.request("GET", address, headers={"Accept": accepted, "Accept-Encoding": "gzip"})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{address}: {answer.status} {body[:300]!r}")
        return body


def visit(client: Client) -> None:
    """Open the first page as a browser that has nothing yet; print how long that takes and how big it is."""
    began = time.perf_counter()
    page = client.get("/")
    size = len(page)
    text = gzip.decompress(page) if page.startswith(b"\x1f\x8b") else page
    for asset in sorted(set(re.findall(r'(?:href|src)="(/static/[^"]+)"', text.decode()))):
        size += len(client.get(asset))
    took = (time.perf_counter() - began) * 1e3
    print(f"a first visit: {took:.1f} ms, {size:,} bytes with all that it needs")


def addresses(client: Client) -> list[str]:
    """Return what is asked for: first pages, second ones, and pages of one run, event or error."""
    queries = [
        replace(query, since=_told(query.since), until=_told(query.until)) for query in RUN_LISTS.values()
    ]
    found = json.loads(client.get(f"{_API}/errors"))["errors"]
    queries.append(RunQuery(fingerprint=found[7]["fingerprint"]))
    lists = [*_with("/events", EVENTS), *_with("/deliveries", DELIVERIES), *_with("/errors", ERRORS)]
    api = [*_with(f"{_API}/errors", ERRORS), f"{_API}/totals", *_with(f"{_API}/rates", RATES)]
    runs = [address_of(path, query) for path in ("/runs", f"{_API}/runs") for query in queries]
    further = [str(json.loads(client.get(one))["next"] or "") for one in runs if one.startswith(_API)]
    one = _some_run(client)
    name = quote(one["id"])
    pages = [f"/runs/{name}", f"{_API}/runs/{name}", f"{_API}/runs/{name}/lineage"]
    pages += [f"/events/{quote(one['event_id'])}", f"/errors/{found[7]['fingerprint']}"]
    rest = ["/", "/dead", "/quarantine", "/tasks", "/sources", "/schedules", "/approvals", "/workers"]
    return [*rest, *runs, *(one for one in further if one), *lists, *api, *pages]


def _some_run(client: Client) -> dict[str, str]:
    """Return a run with a true id: other days are copies of the first, their ids end with `w` and a day."""
    for until in (NOW, NOW - 29 * DAY):
        for one in json.loads(client.get(f"{_API}/runs?type=github.push&until={until:.3f}"))["runs"]:
            if one["id"][-3] != "w":
                return dict(one)
    raise RuntimeError("there is no run of github.push")


def _told(moment: float | None) -> float | None:
    return None if moment is None else round(moment, 3)


def _with(path: str, queries: Queries) -> list[str]:
    return [f"{path}?{urlencode(query)}" if query else path for query in queries]


def measure(running: Site, asked: int, only: str) -> None:
    """Ask for everything, one after the other, and print how long it took."""
    client = Client(running.control_port)
    worst: dict[str, tuple[float, str]] = {}
    visit(client)  # opens the database, too
    visit(client)
    print(f"{'median':>10} {'p95':>10} {'CPU, mean':>10} {'bytes':>9}")
    for address in addresses(client):
        if only not in address:
            continue
        kind = "API" if address.startswith("/api") else "dashboard"
        first = time.perf_counter()
        length = len(client.get(address))
        taken, busy = [time.perf_counter() - first], cpu_seconds(running.pids["gateway"])
        for _ in range(asked):
            began = time.perf_counter()
            client.get(address)
            taken.append(time.perf_counter() - began)
        cpu = (cpu_seconds(running.pids["gateway"]) - busy) / asked
        median, most = nearest(taken, 0.5), nearest(taken, 0.95)
        worst[kind] = max(worst.get(kind, (0.0, "")), (most, address))
        shown = " ".join(f"{seconds * 1e3:7.1f} ms" for seconds in (median, most, cpu))
        print(f"{shown} {length:9,} {address}", flush=True)
    for kind, (seconds, address) in worst.items():
        print(f"{kind}: slowest p95 {seconds * 1e3:.1f} ms, {address}")


def main() -> None:
    """Start a gateway over a history, and ask it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="a history that benchmarks/history.py has filled")
    parser.add_argument("--asked", type=int, default=40)
    parser.add_argument("--only", default="", help="addresses with this in them")
    given = parser.parse_args()
    database = open_history(given.url)
    print(f"{database.engine.dialect.name}, {size(database) / 2**20:,.0f} MiB; {machine()}")
    database.close()
    with site("os") as running:
        running.configure("history", url=given.url)
        running.start("gateway", "gateway")
        measure(running, given.asked, given.only)


if __name__ == "__main__":
    main()
