"""The doctor's checks of the broker: can it be reached, is it set up, does it keep up, does anybody work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tidemill.cli import checks_schedules, checks_secrets, checks_tasks
from tidemill.cli.finding import Finding, ok, problem, warning
from tidemill.kernel.errors import BrokerError, TidemillError
from tidemill.kernel.jetstream.inspection import consumer_infos
from tidemill.kernel.jetstream.topology import diff, wanted
from tidemill.kernel.services.broker import Broker, limits, open_broker
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.subjects import unescape

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings

OLDEST_SERVER: Final = (2, 12)
"""The first version with message schedules."""
SKEW_WARNING: Final = 0.5
SKEW_PROBLEM: Final = 5.0
BYTES_PER_ID: Final = 216
"""Memory that the broker needs for a message id within the duplicate window (measured on 2.15.1)."""
DUPLICATES_BUDGET: Final = 512 << 20
ALMOST_FULL: Final = 0.8
FULL: Final = 0.95
ROUTER_BEHIND: Final = 10_000
_REFUSING: Final = ("EVENTS", "QUARANTINE", "DEAD")
_NANOSECONDS: Final = 1_000_000_000
Check = Callable[[Broker], AsyncIterator[Finding]]


async def broker(settings: Settings, only: Collection[str] = ()) -> list[Finding]:
    """Make all checks of the broker, or those that are named; without a connection there is only one."""
    nats = settings.nats
    if nats.embedded and not nats.data_dir.is_dir():
        return [ok("broker", f"embedded, hasn't run in {nats.data_dir} yet")]
    try:
        async with open_broker(settings, name="doctor", prepare=False) as opened:
            return [finding async for finding in _all(settings, opened, only)]
    except TidemillError as error:
        return [problem("broker", error.sentence, error.hint or "start it, or correct [nats] url")]


async def _all(settings: Settings, opened: Broker, only: Collection[str]) -> AsyncIterator[Finding]:
    yield _version(opened)
    if only and set(only) <= {"broker"}:
        return
    changes, missing = await _topology(settings, opened)
    yield changes
    if missing:
        return
    for name, check in CHECKS.items():
        if only and name not in only:
            continue
        try:
            async for finding in check(opened):
                yield finding
        except BrokerError as error:
            yield problem(name, error.sentence, error.hint)
    if not only or checks_secrets.RECORDS in only:
        async for finding in _secrets(settings, opened):
            yield finding


async def _secrets(settings: Settings, opened: Broker) -> AsyncIterator[Finding]:
    try:
        async for finding in checks_secrets.records(settings, opened):
            yield finding
    except TidemillError as error:
        yield problem(checks_secrets.RECORDS, error.sentence, error.hint)


def _version(opened: Broker) -> Finding:
    version = opened.bus.server_version
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers >= OLDEST_SERVER:
        return ok("broker", f"{', '.join(opened.access.servers)}, nats-server {version}")
    oldest = ".".join(map(str, OLDEST_SERVER))
    return problem("broker", f"nats-server {version} has no schedules", f"update it to {oldest} or later")


async def _topology(settings: Settings, opened: Broker) -> tuple[Finding, bool]:
    """Compare streams and consumers with what this version wants; also say whether a stream is missing."""
    changes = await diff(opened.bus, wanted(opened.names, limits(settings)))
    missing = any(change.kind == "created" and change.target.startswith("stream") for change in changes)
    told = "; ".join(str(change) for change in changes)
    if not changes:
        return ok("topology", "streams and consumers are as declared"), False
    if any(change.kind == "refused" for change in changes):
        hint = "set the setting back, or create that stream anew; docs/operations.md says how"
        return problem("topology", told, hint), missing
    hint = "start a gateway, worker or engine: it applies this"
    return warning("topology", f"not applied yet: {told}", hint), missing


async def _clock(opened: Broker) -> AsyncIterator[Finding]:
    """Compare the clocks: the broker stamps its answers, whose time we know to half of their journey."""
    begun = time.time()
    answer = await opened.bus.api(f"STREAM.INFO.{opened.names.stream('EVENTS')}")
    ended = time.time()
    theirs = datetime.fromisoformat(answer["ts"]).timestamp()
    skew = max(0.0, begun - theirs, theirs - ended)
    hint = "synchronise both machines' clocks (NTP): timers go by the broker's, deadlines by ours"
    if skew >= SKEW_PROBLEM:
        yield problem("clock", f"the broker's clock is {skew:.1f} s off ours", hint)
    elif skew >= SKEW_WARNING:
        yield warning("clock", f"the broker's clock is {skew:.1f} s off ours", hint)
    else:
        yield ok("clock", f"the broker's agrees with ours within {max(skew, ended - begun) * 1000:.0f} ms")


async def _room(opened: Broker) -> AsyncIterator[Finding]:
    """Look at the streams that refuse new messages when they are full."""
    roomy = True
    for name in _REFUSING:
        answer = await opened.bus.api(f"STREAM.INFO.{opened.names.stream(name)}")
        limit, used = answer["config"].get("max_bytes", -1), answer["state"]["bytes"]
        if limit <= 0 or used < ALMOST_FULL * limit:
            continue
        roomy = False
        told = f"{name} holds {used >> 20} of {limit >> 20} MiB and refuses new messages when it is full"
        hint = "raise its byte limit, or shorten how long it keeps them"
        yield problem("room", told, hint) if used >= FULL * limit else warning("room", told, hint)
    if roomy:
        yield ok("room", f"{', '.join(_REFUSING)} have room")


async def _duplicates(opened: Broker) -> AsyncIterator[Finding]:
    """Estimate the memory of EVENTS' duplicate window from the rate at which events came."""
    answer = await opened.bus.api(f"STREAM.INFO.{opened.names.stream('EVENTS')}")
    window = answer["config"]["duplicate_window"] / _NANOSECONDS
    ids = _ids_in_window(answer["state"], window)
    told = f"{ids} ids within {window / 3600:g} h, about {ids * BYTES_PER_ID >> 20} MiB of broker memory"
    if ids * BYTES_PER_ID > DUPLICATES_BUDGET:
        budget = f"more than {DUPLICATES_BUDGET >> 20} MiB"
        yield warning("duplicates", f"{told}: {budget}", "shorten events.duplicate_window")
    else:
        yield ok("duplicates", told)


def _ids_in_window(state: dict[str, Any], window: float) -> int:
    """Return how many of a stream's messages are younger than the window, if they came evenly."""
    messages: int = state["messages"]
    if not messages:
        return 0
    first, last = (datetime.fromisoformat(state[name]).timestamp() for name in ("first_ts", "last_ts"))
    since = time.time() - window
    if first >= since or last <= first:
        return messages if last >= since else 0
    return int(messages * max(0.0, last - since) / (last - first))


async def _router(opened: Broker) -> AsyncIterator[Finding]:
    """Say how far the router is behind, and whether events aged out before it read them."""
    stream = opened.names.stream("EVENTS")
    state = (await opened.bus.api(f"STREAM.INFO.{stream}"))["state"]
    info = await opened.bus.api(f"CONSUMER.INFO.{stream}.router")
    waiting, floor = info["num_pending"] + info["num_ack_pending"], info["ack_floor"]["stream_seq"]
    lost = state["first_seq"] - floor - 1
    start = "start an engine, or a worker without --no-engine"
    if lost > 0:
        yield problem("router", f"up to {lost} events aged out unread", f"raise events.max_age; {start}")
    if waiting and not info.get("num_waiting"):
        yield problem("router", f"{waiting} events wait and no router runs", start)
    elif waiting > ROUTER_BEHIND:
        yield warning("router", f"{waiting} events wait", "run 'tidemill engine' in more processes")
    else:
        yield ok("router", f"{waiting} events wait")


async def _tickets(opened: Broker) -> AsyncIterator[Finding]:
    """Find tasks whose runs wait and that nobody serves."""
    stream = opened.names.stream("TICKETS")
    wanted_by = opened.names.subject("tickets", ">")
    answer = await opened.bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": wanted_by})
    waiting: Counter[str] = Counter()
    for subject, count in (answer["state"].get("subjects") or {}).items():
        waiting[unescape(opened.names.tokens(subject)[1])] += count
    pulled = await _pulled(opened, stream)
    found = False
    for task, count in sorted(waiting.items()):
        consumer = opened.names.consumer_of(task)
        if not pulled.get(consumer):
            found = True
            why = "no worker serves it now" if consumer in pulled else "no worker has ever served it"
            yield problem("tickets", f"{count} runs of {task!r} wait: {why}", "start a worker that serves it")
    if not found:
        yield ok("tickets", f"{sum(waiting.values())} runs in work or waiting, each task has its worker")


async def _pulled(opened: Broker, stream: str) -> dict[str, bool]:
    """Return the stream's consumers, and whether anybody works on each."""
    return {
        info["name"]: bool(info.get("num_waiting") or info.get("num_ack_pending"))
        async for info in consumer_infos(opened.bus, stream)
    }


async def _workers(opened: Broker) -> AsyncIterator[Finding]:
    definitions = Definitions(opened.tasks)
    await definitions.refresh()
    tasks, workers = definitions.active(), await opened.workers.items()
    told = f"{len(workers)} alive, {len(tasks)} tasks known"
    if tasks and not workers:
        yield warning("workers", told, "start a worker")
    else:
        yield ok("workers", told)


CHECKS: Final[Mapping[str, Check]] = {
    "clock": _clock,
    "room": _room,
    "duplicates": _duplicates,
    "router": _router,
    "tickets": _tickets,
    "schedules": checks_schedules.schedules,
    "paused": checks_tasks.paused,
    "workers": _workers,
}
"""What is looked at where the streams are there, by the subject of its findings."""
