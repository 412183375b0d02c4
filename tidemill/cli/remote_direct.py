"""Reaching an installation through its broker, with the documents that its control API would give."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from tidemill.cli.direct_secrets import DirectSecrets
from tidemill.cli.lazy_history import LazyHistory
from tidemill.cli.remote import Remote, Row, ScheduleVerb, Verb
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.services import registry
from tidemill.kernel.services.alerts import Alerts
from tidemill.kernel.services.bulk import told
from tidemill.kernel.services.bulk_deeds import bulk_actions
from tidemill.kernel.services.dead import DeadLetters
from tidemill.kernel.services.dead_query import DeadQuery
from tidemill.kernel.services.destinations import Destinations
from tidemill.kernel.services.dry_run import DryRun
from tidemill.kernel.services.events import Events, StoredEvent
from tidemill.kernel.services.forks import Forks
from tidemill.kernel.services.overrides import Overrides, document
from tidemill.kernel.services.pulse import Pulses
from tidemill.kernel.services.quarantine import Quarantine
from tidemill.kernel.services.quarantine_query import QuarantineQuery
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.run_logs import RunLogReader
from tidemill.kernel.services.run_signals import RunSignals
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.services.schedules import Schedules
from tidemill.kernel.services.tokens import Tokens
from tidemill.kernel.subjects import RUN_ID, pattern_problem
from tidemill.kernel.trigger import parse_request

if TYPE_CHECKING:
    from gateway.amendment import Amendment
    from tidemill.cli.deliveries_direct import DirectDeliveries
    from tidemill.kernel.decision import Decision
    from tidemill.kernel.definition import TaskDefinition
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.quarantine import Quarantined
    from tidemill.kernel.settings.model import Settings


class DirectRemote(DirectSecrets, Remote):
    """Speaks to the broker itself."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        super().__init__(broker, settings)
        self._sources = tuple(settings.sources)
        self._definitions = Definitions(broker.tasks)
        self._history = LazyHistory(settings)
        self._runs = Runs(broker, self._definitions, self._history)
        self._logs = RunLogReader(broker.bus, self._history)
        self._overrides = Overrides(broker)
        self._tokens = Tokens(broker)
        self._schedules = Schedules(broker, self._definitions)
        self._events = Events(broker.bus, broker.blobs)
        self._quarantine = Quarantine(broker.bus, self._events, broker.performer)
        self._dead = DeadLetters(broker, self._runs)
        self._bulk = bulk_actions(broker.bulk, self._runs, self._quarantine)
        self._pulses = Pulses(broker, fresh=0)
        self._alerts = Alerts(broker.alerts)
        self._destinations = Destinations(broker.destinations, self._definitions)

    async def start(self, task: str, payload: bytes, options: Mapping[str, Any]) -> Row:
        """Start a run of a task."""
        return _started(await self._runs.trigger(parse_request(task, payload, options)))

    async def tasks(self) -> list[Row]:
        """Return the definitions."""
        await self._definitions.refresh()
        found = sorted(self._definitions.active(), key=lambda definition: definition.id)
        return [definition.model_dump(mode="json") for definition in found]

    async def task(self, task: str) -> Row:
        """Return one definition."""
        await self._definitions.refresh()
        return self._definitions.find(task).model_dump(mode="json")

    async def remove_task(self, task: str) -> Row:
        """Forget a definition."""
        await self._definitions.refresh()
        definition = self._definitions.find(task)
        await registry.remove(self._broker.tasks, definition.id)
        return {"removed": definition.id}

    async def overrides(self) -> list[Row]:
        """Return what operators have decided about tasks."""
        found = sorted((await self._overrides.all()).items())
        return [document(task, override) for task, override in found if not override.empty]

    async def pause_task(self, task: str, reason: str) -> Row:
        """Let none of a task's runs start or go on."""
        definition = await self._definition(task)
        return document(
            definition.id, await self._overrides.pause(definition, reason=reason, by=getpass.getuser())
        )

    async def resume_task(self, task: str) -> Row:
        """Let a task's runs go on."""
        definition = await self._definition(task)
        return document(definition.id, await self._overrides.resume(definition, by=getpass.getuser()))

    async def limit_task(self, task: str, limit: int | None) -> Row:
        """Let so many of a task's runs execute at once."""
        definition = await self._definition(task)
        return document(definition.id, await self._overrides.limit(definition, limit, by=getpass.getuser()))

    async def _definition(self, task: str) -> TaskDefinition:
        await self._definitions.refresh()
        return self._definitions.find(task)

    async def runs(self, *, task: str | None, status: str | None, limit: int) -> list[Row]:
        """Return the runs that changed last."""
        return [view.facts() for view in await self._runs.list(task=task, status=status, limit=limit)]

    async def run(self, run: str) -> Row:
        """Return a run with its timeline."""
        return (await self._runs.explained(_checked(run))).details()

    async def run_logs(self, run: str, *, after: int, limit: int) -> Row:
        """Return a run's lines after a sequence."""
        page = await self._logs.page(_checked(run), after=after, limit=limit)
        if not page.lines and not after:
            await self._runs.get(run)
        return {"logs": page.lines, "after": page.after, "more": page.more}

    async def tell_run(self, run: str, verb: Verb, reason: str) -> Row:
        """Ask a run to end or to go on."""
        return {"run_id": run, "answer": await self._runs.tell(_checked(run), verb, reason)}

    async def replay_run(self, run: str, payload: bytes | None = None) -> Row:
        """Start a new run with the input of an old one, or with another payload."""
        return _started(await self._runs.replay(_checked(run), payload)) | {"replayof": run}

    async def fork_run(self, run: str, at: str | None, key: str | None) -> Row:
        """Start a run that takes over what another had finished before a point."""
        view = await Forks(self._runs).fork(_checked(run), at, key=key)
        return _started(view) | {"forkof": view.facts()["forkof"]}

    async def select(self, what: str, action: str, where: Mapping[str, str], reason: str) -> Row:
        """Select what fits a filter."""
        from gateway.choosing import Chooser, Order  # noqa: PLC0415 - the gateway delays other commands

        async with self._history.open() as history:
            chooser = Chooser(history, self._dead, self._quarantine)
            order = Order(what, action, where, reason)
            selection, first = await chooser.select(self._bulk, order, getpass.getuser())
        return told(selection, (await self._bulk.find(selection.token))[1]) | {"first": first}

    async def execute_selection(self, token: str) -> AsyncIterator[Row]:
        """Do something to all of a selection."""
        selection, _ = await self._bulk.find(token)
        async for progress in self._bulk.execute(token, by=getpass.getuser()):
            yield told(selection, progress)

    async def signal_run(self, run: str, name: str, data: bytes, key: str | None) -> Row:
        """Send a run a signal."""
        return await RunSignals(self._broker, self._runs).send(_checked(run), name, data, key)

    async def tokens(self, *, task: str | None, run: str | None, limit: int) -> list[Row]:
        """Return the open tokens."""
        return [view.summary() for view in await self._tokens.list(task=task, run=run, limit=limit)]

    async def token(self, token: str) -> Row:
        """Return one with its answers."""
        return (await self._tokens.find(token)).details()

    async def answer(self, token: str, decision: Decision) -> Row:
        """Answer a token or an approval."""
        return await self._tokens.complete(token, decision)

    async def events(
        self, *, source: str | None, event_type: str | None, before: int | None, limit: int
    ) -> list[Row]:
        """Return the newest events."""
        if event_type and (problem := pattern_problem(event_type)):
            raise PayloadError(f"type {event_type!r} can't be used: {problem}", hint="like github.issues.*")
        found = await self._events.list(source=source, event_type=event_type, before=before, limit=limit)
        return [event.summary() for event in found]

    async def event(self, event: str) -> Row:
        """Return an event with its data, verdicts and runs."""
        stored = await self._events.find(event, self._sources)
        body = await self._events.body(stored)
        return {
            "event": stored.facts,
            "seq": stored.seq,
            "received_at": stored.at.isoformat(),
            "size": len(body),
            "data": _data(stored, body),
            "verdicts": list(await self._events.verdicts(stored.key)),
            "runs": await self._runs.of_event(stored.key, str(stored.facts.get("type", ""))),
        }

    async def event_body(self, event: str) -> bytes:
        """Return an event's body as it was received."""
        return await self._events.body(await self._events.find(event, self._sources))

    async def dry_run(self, order: Mapping[str, Any]) -> Row:
        """Say which tasks an event would start."""
        dry = DryRun(self._definitions, self._events)
        if "id" in order:
            return await dry.of_event(order["id"], self._sources)
        return await dry.of_document(order["event"])

    async def replay_event(self, event: str) -> Row:
        """Store an event again."""
        stored = await self._events.replay(await self._events.find(event, self._sources))
        return stored.summary()

    async def records(self, *, kind: str | None, source: str | None, limit: int) -> list[Row]:
        """Return what was decided about events."""
        return list(await self._events.records(kind=kind, source=source, limit=limit))

    async def deliveries(self, wanted: Mapping[str, str], limit: int) -> Row:
        """Return the newest requests."""
        return await self._delivery_log.list(wanted, limit)

    async def delivery(self, delivery: str) -> Row:
        """Return one with headers and body."""
        return await self._delivery_log.show(delivery)

    async def delivery_body(self, delivery: str) -> bytes:
        """Return the body of one."""
        return await self._delivery_log.body(delivery)

    async def reverify(self, source: str | None, *, dry: bool, after: str | None) -> Row:
        """Verify kept requests again."""
        return await self._delivery_log.reverify(source, dry=dry, after=after)

    async def reverify_one(self, delivery: str, *, dry: bool) -> Row:
        """Verify one kept request again."""
        return await self._delivery_log.reverify_one(delivery, dry=dry)

    async def replay_delivery(self, delivery: str) -> Row:
        """Store a delivery's events again."""
        return await self._delivery_log.replay(delivery)

    async def quarantine(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest entries of the quarantine."""
        found = await self._quarantine.list(QuarantineQuery.parse(wanted), before=before, limit=limit)
        return {"quarantine": [entry.summary() for entry in found.rows], "next": found.next}

    async def quarantined(self, key: str) -> Row:
        """Return one entry with its body."""
        entry = await self._quarantine.find(key)
        return entry.summary() | {"facts": entry.facts, "body": entry.raw.decode("utf-8", "replace")}

    async def release(self, key: str) -> Row:
        """Send an entry on."""
        return await self._quarantine.release(await self._quarantine.find(key))

    async def discard(self, key: str) -> Row:
        """Take an entry out of quarantine for good."""
        return await self._quarantine.discard(await self._quarantine.find(key))

    async def release_edited(self, key: str, data: bytes, *, force: bool) -> Row:
        """Send an entry on with other data."""
        entry, amendment = await self._amended(key, data, getpass.getuser(), force=force)
        return await self._quarantine.release(entry, amendment.edit) | {"edited": amendment.paths}

    async def _amended(self, key: str, data: bytes, by: str, *, force: bool) -> tuple[Quarantined, Amendment]:
        # The gateway's parts delay commands that don't need them.
        from gateway.amendment import amendments_of  # noqa: PLC0415 - as said
        from gateway.masking import Masks  # noqa: PLC0415 - as said
        from gateway.sources import schema_store  # noqa: PLC0415 - as said

        schemas = schema_store(self._settings)
        masks = Masks(self._settings, schemas, self._definitions)
        amendments = amendments_of(self._settings, self._broker, schemas, masks)
        entry = await self._quarantine.find(key)
        return entry, await amendments.prepare(entry, data, by, force=force)

    async def dead(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest dead letters."""
        found = await self._dead.list(DeadQuery.parse(wanted), before=before, limit=limit)
        return {"dead": [letter.summary() for letter in found.rows], "next": found.next}

    async def dead_letter(self, key: str) -> Row:
        """Return one dead letter."""
        return (await self._dead.find(key)).details()

    async def retry_dead(self, key: str) -> Row:
        """Bring a dead letter's run back."""
        return {"run_id": key, "answer": await self._dead.retry(key)}

    async def pulse(self) -> Row:
        """Return how the installation is."""
        return (await self._pulses.take()).facts()

    @cached_property
    def _delivery_log(self) -> DirectDeliveries:
        from tidemill.cli.deliveries_direct import DirectDeliveries  # noqa: PLC0415 - recipes delay commands

        return DirectDeliveries(self._broker, self._events, self._settings, self._vault)

    async def destinations(self) -> list[Row]:
        """Return where events are forwarded to."""
        return await self._destinations.list()

    async def enable_destination(self, name: str) -> Row:
        """Let a destination be sent to again."""
        await self._destinations.enable(name)
        return {"enabled": name}

    async def alerts(self) -> Row:
        """Return how alerts stand."""
        return await self._alerts.show()

    async def silence_alerts(self, document: Mapping[str, Any]) -> Row:
        """Silence alerts for a while."""
        return (await self._alerts.silence(dict(document), getpass.getuser())).facts()

    async def end_silence(self, silence: str) -> Row:
        """End a silence."""
        await self._alerts.end_silence(silence)
        return {"ended": silence}

    async def test_channel(self, channel: str) -> Row:
        """Have the engine send a test to a channel."""
        return await self._alerts.test(channel)

    async def schedules(self) -> list[Row]:
        """Return all schedules."""
        return [view.facts() for view in await self._schedules.list()]

    async def schedule(self, schedule: str) -> Row:
        """Return one schedule."""
        return (await self._schedules.get(schedule)).facts()

    async def tell_schedule(self, schedule: str, verb: ScheduleVerb) -> Row:
        """Pause, resume or trigger a schedule."""
        return await self._schedules.tell(schedule, verb)

    async def workers(self) -> list[Row]:
        """Return the worker processes that are alive."""
        found = [orjson.loads(stored) for stored in (await self._broker.workers.items()).values()]
        return sorted(found, key=lambda worker: str(worker["id"]))


def _started(view: RunView) -> Row:
    return {"run_id": view.id, "status": view.status}


def _checked(run: str) -> str:
    """Return a run's id; what can't be one never becomes a part of a subject."""
    if not RUN_ID.fullmatch(run):
        raise NotFoundError(f"there is no run {run!r}", hint="a run id is `run_` and 26 letters and digits")
    return run


def _data(event: StoredEvent, body: bytes) -> Any:
    if "value" in event.facts:
        return event.facts["value"]
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return None
