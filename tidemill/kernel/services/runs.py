"""Runs from the outside: trigger, look at, list, and send them news. Gateway and command line share it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import jsonschema_rs
import orjson

from tidemill.kernel import clock
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import ConflictError, HistoryError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.bus import Message
from tidemill.kernel.json_faults import path_text
from tidemill.kernel.marks import END_HEADER
from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.records import Created, Entry, decode
from tidemill.kernel.protocol.state import State, Status, fold
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.mail import ANSWER_SECONDS, ask_mailman
from tidemill.kernel.services.origins import Origin, Origins, input_of, origin_of
from tidemill.kernel.services.overrides import Overrides
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.run_view import RunView, UnreadableRun
from tidemill.kernel.services.why import could_go_on
from tidemill.kernel.signals import Kind, write_signal
from tidemill.kernel.subjects import new_run, run_of_event, run_of_key
from tidemill.kernel.trigger import TriggerRequest

STALE_SECONDS: Final = 2.0
"""How old a view of the definitions may be when a run is triggered; who follows them reads nothing here."""
SCAN_LIMIT: Final = 10_000
"""How many journals one listing looks into at most."""
_CLOSED: Final = "closed"
_PAST: Final[dict[Kind, str]] = {"cancel": "cancelled", "retry": "retried"}
_log = logging.getLogger(__name__)


class Runs:
    """Everything that may be asked about runs, or done to them, from outside of a worker."""

    def __init__(
        self, broker: Broker, definitions: Definitions | None = None, origins: Origins | None = None
    ) -> None:
        """Prepare.

        Args:
            broker: where they are.
            definitions: a view of the tasks.
            origins: who remembers what closed ones were started with; without it they can't be replayed.
        """
        self.broker = broker
        self._origins = origins
        self._broker = broker
        self._definitions = definitions or Definitions(broker.tasks)
        self._validators: dict[str, jsonschema_rs.Validator] = {}

    async def trigger(self, request: TriggerRequest) -> RunView:
        """Start a run of a task, or return the one that the same idempotency key has started.

        Raises:
            NotFoundError: there is no such task.
            PayloadError: the payload doesn't fit the task.
            ConflictError: the idempotency key was used with another payload.
            BrokerError: the run wasn't created, or it is unknown whether it was.
        """
        definition = await self.definition(request.task_id)
        self._check(definition, request.payload)
        key = request.idempotency_key
        run = run_of_key(definition.id, key) if key else new_run()
        created = await self._created(run, definition, request)
        state = await self._broker.performer.run(create(run, created))
        if state.created is not None and state.created.rid != created.rid:
            raise ConflictError(
                f"the idempotency key {key!r} of {definition.id} was used with another payload",
                hint=f"it started {run}; use another key for another payload",
            )
        return RunView(run, state)

    async def get(self, run: str) -> RunView:
        """Return a run.

        Raises:
            NotFoundError: there is no such run, or its journal has been closed for good.
        """
        journal = self._broker.journal
        # A replica may not have heard of a new run yet: that there is none only the leader can say.
        stored = await journal.read(run) or await journal.read_leader(run)
        entries = tuple(Entry(entry.seq, decode(entry.body), entry.at) for entry in stored)
        if not entries:
            raise NotFoundError(
                f"there is no run {run!r}", hint="ended runs are kept for as long as journal.keep says"
            )
        state = fold(entries)
        return RunView(run, state, entries, await self._result(state))

    async def explained(self, run: str) -> RunView:
        """Return a run with what was decided about its task, where that may be why it doesn't go on.

        Raises:
            NotFoundError: there is no such run, or its journal has been closed for good.
        """
        view = await self.get(run)
        if not could_go_on(view.state):
            return view
        return replace(view, override=await Overrides(self._broker).of(view.state.task))

    @asynccontextmanager
    async def watching(self, run: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set when the run's end is on its way into the journal: a hint to look.

        Whoever listens on a stream's subject is sent what is published there. It may come before it is
        stored, be refused, or be missed: look now and then without it too.
        """
        ending = asyncio.Event()

        def arrived(message: Message) -> None:
            if END_HEADER in (message.headers or {}):
                ending.set()

        subscription = await self._broker.bus.subscribe(self._broker.names.journal(run), arrived)
        try:
            yield ending
        finally:
            await subscription.stop()

    async def _result(self, state: State) -> Any:
        if state.end is None or state.end.blob is None:
            return state.end.result if state.end is not None else None
        return orjson.loads(await self._broker.blobs.get(state.end.blob))

    async def list(
        self, *, task: str | None = None, status: str | None = None, limit: int = 50
    ) -> list[RunView]:
        """Return the runs that changed last, newest first."""
        if status is not None and status not in set(Status):
            raise NotFoundError(f"there is no status {status!r}", hint=f"statuses are {', '.join(Status)}")
        found: list[RunView] = []
        async for view in self._newest_first():
            if (task is None or view.state.task == task) and (status is None or view.status == status):
                found.append(view)
            if len(found) >= limit:
                break
        return found

    async def _newest_first(self) -> AsyncIterator[RunView]:
        # A run that moves on during the pass comes twice; what counts is its later record.
        newest = {entry.run: entry async for entry in self._broker.journal.runs(headers_only=True)}
        last = sorted(
            (entry for entry in newest.values() if not entry.tombstone), key=lambda entry: -entry.seq
        )
        for entry in last[:SCAN_LIMIT]:
            try:
                yield await self.get(entry.run)
            except NotFoundError:
                continue  # it was closed between the two looks
            except PayloadError as error:
                _log.warning("%s can't be listed: %s", entry.run, error.sentence)

    async def unfinished(self) -> AsyncIterator[RunView | UnreadableRun]:
        """Yield the runs that haven't ended, as many as there are, and those whose journals can't be read."""
        found = [
            entry.run
            async for entry in self._broker.journal.runs(headers_only=True)
            if not entry.tombstone and END_HEADER not in entry.headers
        ]
        for run in dict.fromkeys(found):
            try:
                view = await self.get(run)
            except NotFoundError:
                continue  # it was closed between the two looks
            except PayloadError as error:
                yield UnreadableRun(run, error.sentence)
                continue
            if not view.ended:
                yield view

    async def of_event(self, key: str, event_type: str) -> Sequence[dict[str, Any]]:
        """Return the runs that an event has started, by its delivery key and type, while they are kept."""
        await self._definitions.refresh()
        found: list[dict[str, Any]] = []
        for definition in self._definitions.active():
            run = run_of_event(key, definition.id)
            try:
                status = (await self.get(run)).status if definition.wants(event_type) else None
            except NotFoundError:
                continue  # filtered, not routed yet, or closed long ago: the verdicts say more
            if status is not None:
                found.append({"run_id": run, "task": definition.id, "status": status})
        return found

    async def signal(self, run: str, kind: Kind, reason: str = "", *, name: str = "") -> str:
        """Send a run news and wait a moment for what comes of it; with a `name` it counts once.

        Returns `done`, `gone` (no such run, or it has ended), `refused` (its state doesn't allow it) or
        `queued`: the signal is stored and will be delivered, the mailman just hasn't answered yet.
        """
        return await ask_mailman(
            self._broker,
            run,
            lambda reply: write_signal(kind, reason, reply, name=name),
            within=ANSWER_SECONDS,
        )

    async def tell(self, run: str, kind: Kind, reason: str = "", *, name: str = "") -> str:
        """Send a run a command; return `done`, or `queued` where it is stored and nobody has answered yet.

        With a `name` it counts once for the run, however often it is sent.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: its state doesn't allow it, or its journal is closed.
            BrokerError: it wasn't stored, or it is unknown whether it was.
        """
        status = await self.status_of(run)
        answer = await self.signal(run, kind, reason, name=name) if status != _CLOSED else "gone"
        if answer in ("gone", "refused"):
            closed = "replay starts a new run with its input"
            open_ = "cancel is for runs that go on, retry for runs that failed, replay for all"
            raise ConflictError(
                f"{run} can't be {_PAST[kind]}: it is {status}", hint=closed if status == _CLOSED else open_
            )
        return answer

    async def status_of(self, run: str) -> str:
        """Return a run's state, `closed` where only a history still knows it.

        Raises:
            NotFoundError: nobody knows it.
        """
        try:
            return (await self.get(run)).status
        except NotFoundError as unknown:
            if self._origins is None:
                raise
            try:
                await self._origins.origin(run)
            except HistoryError:
                raise unknown from None
            return _CLOSED

    async def replay(self, run: str, payload: bytes | None = None, *, again: str | None = None) -> RunView:
        """Start a new run with the input of an old one, or with another `payload`, linked to it.

        Args:
            run: the old one; where its journal is closed, a history may still know its input.
            payload: JSON text to start with instead.
            again: the new one's id: repeated with the same, this starts one run.

        Raises:
            NotFoundError: there is no such run any more, or no such task; or its input isn't kept.
            PayloadError: the other payload doesn't fit the task.
            HistoryError: its journal is closed, and the history can't be asked.
        """
        origin, hooks = await self._origin(run)
        if payload is not None:
            self._check(await self.definition(origin.task), payload)
            # The data beside an event's body would win over the payload.
            event = origin.event and {name: one for name, one in origin.event.items() if name != "value"}
            raw = payload
        else:
            event, raw = await input_of(self._broker, run, origin)
        again = again or new_run()
        copy = await self.with_body(
            again,
            Created(rid=again, task=origin.task, event=event, tags=origin.tags, replayof=run, hooks=hooks),
            raw,
        )
        return RunView(again, await self._broker.performer.run(create(again, copy)))

    async def _origin(self, run: str) -> tuple[Origin, bool]:
        """Return what a run was started with, and whether a new one of its task has hooks."""
        unknown = NotFoundError(
            f"{run} has been closed: its input is gone", hint="send the event again instead"
        )
        try:
            created = (await self.get(run)).state.created
        except NotFoundError as error:
            created, unknown = None, error
        if created is not None:
            return origin_of(created), created.hooks
        if self._origins is None:
            raise unknown
        origin = await self._origins.origin(run)
        return origin, (await self.definition(origin.task)).hooks

    async def definition(self, task: str) -> TaskDefinition:
        """Return a task's definition, as new as it has to be.

        Raises:
            NotFoundError: there is no such task.
        """
        await self._definitions.refresh(newer_than=time.time() - STALE_SECONDS)
        try:
            return self._definitions.find(task)
        except NotFoundError:
            await self._definitions.refresh()
            return self._definitions.find(task)

    def _check(self, definition: TaskDefinition, payload: bytes) -> None:
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise PayloadError(f"the payload is no JSON: {error}", hint="send a JSON value") from error
        if definition.payload_schema is None or definition.takes == "event":
            return
        validator = self._validators.get(definition.fingerprint)
        if validator is None:
            validator = jsonschema_rs.validator_for(definition.payload_schema)
            self._validators[definition.fingerprint] = validator
        for misfit in validator.iter_errors(value):
            place = path_text(tuple(misfit.instance_path), "payload")
            missing = "give a payload (--payload JSON); " if value is None else ""
            raise PayloadError(
                f"{place}: {misfit.message}",
                hint=f"{missing}`tidemill tasks show {definition.id}` prints its schema",
            )

    async def _created(self, run: str, task: TaskDefinition, request: TriggerRequest) -> Created:
        start_at = request.at.timestamp() if request.at is not None else None
        if request.delay is not None:
            start_at = clock.now().timestamp() + request.delay
        begin = start_at if start_at is not None else clock.now().timestamp()
        digest = hashlib.sha256(request.payload).hexdigest()[:32]
        record = Created(
            rid=f"key-{digest}" if request.idempotency_key else f"trigger-{run}",
            task=task.id,
            hooks=task.hooks,
            start_at=start_at,
            expires_at=begin + request.ttl if request.ttl is not None else None,
            key=request.idempotency_key,
            tags=request.tags,
            trace=request.trace or self._broker.traces.parent(),
        )
        return await self.with_body(run, record, request.payload)

    async def with_body(self, run: str, record: Created, raw: bytes) -> Created:
        """Return a run's first record with its input, which the run owns where it is large."""
        if len(raw) > INLINE_LIMIT:
            return replace(record, blob=await self._broker.blobs.put(run, raw))
        return replace(record, raw=raw)
