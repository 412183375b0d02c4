"""What one GitHub push costs in each stage of the way in: python benchmarks/stages.py [--rounds 25].

The delivery is the 7 kB sample `schemas/github/push`, with GitHub's headers. Each stage is timed by itself,
with the objects that a gateway has, as CPU time of this process; publishing on a broker of its own,
acknowledged, 64 at the same time. Then the whole in the same way, from the ASGI call to the answer. `The
rest` is what that takes beyond its stages: what stands between them, asyncio, and that data are no longer in
the CPU's caches. The HTTP server isn't in it: `benchmarks/ingress.py` prints what the process takes in all.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import uvloop
from bench_site import SECRET, machine, site
from rich.console import Console
from rich.table import Table

from gateway.body import Budget, declared_length, read_body
from gateway.delivery_desk import DeliveryDesk
from gateway.depot import Depot
from gateway.inbound import Inbound
from gateway.ingress import Ingress
from gateway.kept_headers import kept_headers
from gateway.mediatype import media_type
from gateway.metrics import Metrics
from gateway.normalise import Delivery, Normaliser
from gateway.outcome import Outcome
from gateway.publisher import publisher_of
from gateway.reading import BodyReader, Content
from gateway.receipt import ACCEPTED, Receipts, Taken, entries
from gateway.recipes.presets import preset
from gateway.recipes.samples import body_of, find_sample
from gateway.recipes.sign import sign
from gateway.recipes.verify import Verification, Verified
from gateway.recorder import Recorder
from gateway.sources import build_intakes, schema_store
from gateway.verdict import Accepted
from tidemill.kernel.collector import spare_collector
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import delivery_key

CALLS: Final = 500
FLIGHT: Final = 64
ALL_OF_IT: Final = "all of it"
Stages = dict[str, Callable[[], Awaitable[float]]]


class Site:
    """The parts of a gateway with one GitHub source, and a push for it."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.recipe, self.metrics = preset("github"), Metrics()
        self.schemas = schema_store(settings)
        self.intakes = build_intakes(settings, LiveSettings(settings), None, self.schemas)
        self.publisher, recorder = publisher_of(settings, broker), Recorder(broker.bus, self.metrics)
        self.logbook = DeliveryDesk(settings, broker, self.metrics, self.intakes).logbook
        self.depot = Depot(self.publisher, recorder)
        self.ingress = Ingress(self.intakes, self.publisher, recorder, self.metrics, logbook=self.logbook)
        self.ids = count(time.time_ns())
        sample = find_sample("github", "push")
        self.body = body_of(self.recipe, sample, event_id="1", timestamp=time.time())
        self.inbound = Inbound("POST", "/webhooks/github", "", self.headers(), self.body, time.time())

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers of a delivery with an id of its own."""
        given = sign(
            self.recipe,
            Secret(SECRET),
            self.body,
            event_type="push",
            event_id=str(next(self.ids)),
            timestamp=0,
        )
        given |= {"Host": "hooks.example.com", "Accept": "*/*", "Content-Length": str(len(self.body))}
        return [(name.lower().encode(), value.encode()) for name, value in given.items()]

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the request's body, as the server gives it."""
        return {"type": "http.request", "body": self.body, "more_body": False}

    def scope(self) -> dict[str, Any]:
        """Return a request's scope."""
        return {
            "type": "http",
            "method": "POST",
            "path": "/webhooks/github",
            "raw_path": b"/webhooks/github",
            "query_string": b"",
            "headers": self.headers(),
            "client": ("192.0.2.1", 40000),
        }

    def accepted(self) -> Accepted:
        """Return a verdict about a delivery that hasn't come yet."""
        verdict = self.intakes["github"].receive(
            Inbound("POST", "/webhooks/github", "", self.headers(), self.body, time.time())
        )
        if not isinstance(verdict, Accepted):
            raise SystemExit(f"the sample isn't accepted: {verdict}")
        return verdict


async def discard(_: MutableMapping[str, Any]) -> None:
    """Take what the application sends."""


def by_itself(work: Callable[[], object]) -> Callable[[], Awaitable[float]]:
    """Return what times a stage that doesn't wait."""

    async def once() -> float:
        started = time.process_time()
        for _ in range(CALLS):
            work()
        return (time.process_time() - started) / CALLS * 1e6

    return once


def one_by_one(work: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[float]]:
    """Return what times a stage that could wait, and doesn't."""

    async def once() -> float:
        started = time.process_time()
        for _ in range(CALLS):
            await work()
        return (time.process_time() - started) / CALLS * 1e6

    return once


def in_flight(
    prepare: Callable[[], Any], work: Callable[[Any], Awaitable[object]]
) -> Callable[[], Awaitable[float]]:
    """Return what times a stage that waits for the broker, many at the same time; prepared before."""

    async def once() -> float:
        ready = iter([prepare() for _ in range(CALLS)])

        async def worker(left: Iterator[Any]) -> None:
            for one in left:
                await work(one)

        started = time.process_time()
        await asyncio.gather(*(worker(ready) for _ in range(FLIGHT)))
        return (time.process_time() - started) / CALLS * 1e6

    return once


def stages(parts: Site) -> Stages:
    """Return what is timed, in the order in which a request passes it."""
    recipe, inbound, verdict = parts.recipe, parts.inbound, parts.accepted()
    verification, normaliser = Verification(recipe), Normaliser(recipe.event, lambda *_: "")
    reader, budget, secrets = BodyReader(recipe.event.data, recipe.reads), Budget(), (Secret(SECRET),)
    document = verdict.envelope.data
    delivery = Delivery(inbound, Content(document), Verified(0), document)
    attributes = {name: getattr(verdict.envelope, name) for name in Envelope.model_fields}
    taken, receipts = Taken(verdict.envelope, ACCEPTED, 1), Receipts()
    answer, scope = receipts.one(taken), parts.scope()
    outcome = Outcome(answer, ACCEPTED, len(parts.body), entries((taken,)), 0)
    media = media_type(inbound.header(b"content-type"))

    async def read() -> None:
        await read_body(parts.receive, declared_length(inbound.headers), 25_000_000, budget)
        Inbound("POST", "/webhooks/github", "", inbound.headers, parts.body, 0.0)

    def name() -> None:
        identity = normaliser.identify(delivery)
        kept_headers(inbound)
        delivery_key("github", identity.id)
        Envelope(**attributes)

    async def reply() -> None:
        await receipts.one(taken).send(discard, parts.receive)

    def write_down() -> None:
        parts.metrics.request("github", ACCEPTED, len(parts.body), 0.001)
        parts.logbook.write_down("github", None, scope, outcome, 0.001, "192.0.2.1")

    pair = ("github", "github"), ("push", "push")
    return {
        "cap and read": one_by_one(read),
        "verify": by_itself(lambda: verification.verify(inbound, secrets)),
        "parse": by_itself(lambda: reader.read(parts.body, "json", media)),
        "normalise": by_itself(name),
        "validate": by_itself(lambda: parts.schemas.judge(*pair, document)),
        "publish": in_flight(parts.accepted, lambda one: parts.depot.store(one, "192.0.2.1")),
        "answer": one_by_one(reply),
        "count and log": by_itself(write_down),
        ALL_OF_IT: in_flight(parts.scope, lambda one: parts.ingress(one, parts.receive, discard)),
    }


async def measured(settings: Settings, rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of every stage in every round, the first of which warms up."""
    async with open_broker(settings, name="stages") as broker:
        parts = Site(settings, broker)
        timed = stages(parts)
        found: dict[str, list[float]] = {name: [] for name in timed}
        async with _written(parts):
            spare_collector()
            for number in range(rounds + 1):
                for name, once in timed.items():
                    took = await once()
                    if number:
                        found[name].append(took)
        return found


@asynccontextmanager
async def _written(parts: Site) -> Any:
    """Have the log written meanwhile."""
    writing = asyncio.create_task(parts.logbook.run(), name="logbook")
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


def table(found: dict[str, list[float]], title: str) -> Table:
    """Return what was measured, as a table."""
    shown = Table(title=title, title_justify="left")
    for column in ("stage", "median µs", "least", "most"):
        shown.add_column(column, justify="left" if column == "stage" else "right")
    medians = {name: statistics.median(times) for name, times in found.items()}
    whole = medians.pop(ALL_OF_IT)
    for name, median in medians.items():
        shown.add_row(name, f"{median:.1f}", f"{min(found[name]):.1f}", f"{max(found[name]):.1f}")
    shown.add_row("the rest", f"{whole - sum(medians.values()):.1f}", "", "", end_section=True)
    times = found[ALL_OF_IT]
    shown.add_row(ALL_OF_IT, f"{whole:.1f}", f"{min(times):.1f}", f"{max(times):.1f}")
    return shown


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    with site("os") as running:
        found = uvloop.run(measured(Settings.load(running.config), options.rounds))
    title = f"7 kB GitHub push, durability = os, {options.rounds} rounds of {CALLS}\n{machine()}"
    Console(width=110).print(table(found, title))


if __name__ == "__main__":
    main()
