"""Reaching an installation over its control API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from tidemill.cli.http_secrets import HttpSecrets
from tidemill.cli.remote import Remote, Row, ScheduleVerb, Verb
from tidemill.http_transport import keyed
from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import ControlError

_LOOK_EVERY: Final = 0.3


@dataclass(slots=True)
class HttpRemote(HttpSecrets, Remote):
    """Speaks to a control listener."""

    async def start(self, task: str, payload: bytes, options: Mapping[str, Any]) -> Row:
        """Start a run of a task."""
        body = b'{"payload":' + payload + b',"options":' + orjson.dumps(options) + b"}"
        return await self._post("tasks", task, "trigger", body=body)

    async def tasks(self) -> list[Row]:
        """Return the definitions."""
        return await self._list("tasks")

    async def task(self, task: str) -> Row:
        """Return one definition."""
        return await self._get("tasks", task)

    async def end_logins(self, name: str) -> Row:
        """End all logins that somebody has in browsers."""
        return await self._request("DELETE", _path("logins", name))

    async def run_logs(self, run: str, *, after: int, limit: int) -> Row:
        """Return a run's lines after a sequence."""
        path = f"{_path('runs', run, 'logs')}?{urlencode({'after': after, 'limit': limit})}"
        return await self._request("GET", path)

    async def audit(self, wanted: Mapping[str, str | None], *, before: int | None, limit: int) -> list[Row]:
        """Return the newest changes."""
        return await self._list("audit", before=before, limit=limit, **wanted)

    async def remove_task(self, task: str) -> Row:
        """Forget a definition."""
        return await self._request("DELETE", _path("tasks", task))

    async def overrides(self) -> list[Row]:
        """Return what operators have decided about tasks."""
        return await self._list("overrides")

    async def pause_task(self, task: str, reason: str) -> Row:
        """Let none of a task's runs start or go on."""
        return await self._post("tasks", task, "pause", body=orjson.dumps({"reason": reason}))

    async def resume_task(self, task: str) -> Row:
        """Let a task's runs go on."""
        return await self._post("tasks", task, "resume")

    async def limit_task(self, task: str, limit: int | None) -> Row:
        """Let so many of a task's runs execute at once."""
        return await self._post("tasks", task, "limit", body=orjson.dumps({"limit": limit}))

    async def runs(self, *, task: str | None, status: str | None, limit: int) -> list[Row]:
        """Return the runs that changed last."""
        return await self._list("runs", task=task, status=status, limit=limit)

    async def run(self, run: str) -> Row:
        """Return a run with its timeline."""
        return await self._get("runs", run)

    async def tell_run(self, run: str, verb: Verb, reason: str) -> Row:
        """Ask a run to end or to go on."""
        return await self._post("runs", run, verb, body=orjson.dumps({"reason": reason}))

    async def replay_run(self, run: str, payload: bytes | None = None) -> Row:
        """Start a new run with the input of an old one, or with another payload."""
        body = b'{"payload":' + payload + b"}" if payload is not None else b""
        return await self._post("runs", run, "replay", body=body)

    async def fork_run(self, run: str, at: str | None, key: str | None) -> Row:
        """Start a run that takes over what another had finished before a point."""
        return await self._request("POST", _path("runs", run, "fork"), orjson.dumps({"at": at}), keyed(key))

    async def select(self, what: str, action: str, where: Mapping[str, str], reason: str) -> Row:
        """Select what fits a filter."""
        order = {"what": what, "action": action, "where": where, "reason": reason}
        return await self._post("bulk", body=orjson.dumps(order))

    async def execute_selection(self, token: str) -> AsyncIterator[Row]:
        """Do something to all of a selection; while nobody works on it any more, ask for it again."""
        while True:
            row = await self._get("bulk", token)
            if row["state"] in ("selected", "interrupted"):
                row = await self._post("bulk", token, "execute")
            yield row
            if row["state"] == "done":
                return
            await asyncio.sleep(_LOOK_EVERY)

    async def signal_run(self, run: str, name: str, data: bytes, key: str | None) -> Row:
        """Send a run a signal."""
        path = _path("runs", run, "signals", name)
        return await self._request("POST", path, b'{"data":' + data + b"}", keyed(key))

    async def tokens(self, *, task: str | None, run: str | None, limit: int) -> list[Row]:
        """Return the open tokens."""
        return await self._list("tokens", task=task, run=run, limit=limit)

    async def token(self, token: str) -> Row:
        """Return one with its answers."""
        return await self._get("tokens", token)

    async def answer(self, token: str, decision: Decision) -> Row:
        """Answer a token or an approval."""
        body = orjson.dumps(decision.document())
        return await self._request("POST", _path("tokens", token, "complete"), body, keyed(decision.key))

    async def events(
        self, *, source: str | None, event_type: str | None, before: int | None, limit: int
    ) -> list[Row]:
        """Return the newest events."""
        return await self._list("events", source=source, type=event_type, before=before, limit=limit)

    async def event(self, event: str) -> Row:
        """Return an event with its data, verdicts and runs."""
        return await self._get("events", event)

    async def event_body(self, event: str) -> bytes:
        """Return an event's body as it was received."""
        return await self._bytes(f"{_path('events', event)}?raw=1")

    async def dry_run(self, order: Mapping[str, Any]) -> Row:
        """Say which tasks an event would start."""
        return await self._post("dry-run", body=orjson.dumps(order))

    async def replay_event(self, event: str) -> Row:
        """Store an event again."""
        return await self._post("events", event, "replay")

    async def records(self, *, kind: str | None, source: str | None, limit: int) -> list[Row]:
        """Return what was decided about events."""
        return await self._list("records", kind=kind, source=source, limit=limit)

    async def deliveries(self, wanted: Mapping[str, str], limit: int) -> Row:
        """Return the newest requests."""
        return await self._get_with("deliveries", {**wanted, "limit": limit})

    async def delivery(self, delivery: str) -> Row:
        """Return one with headers and body."""
        return await self._get("deliveries", delivery)

    async def delivery_body(self, delivery: str) -> bytes:
        """Return the body of one."""
        return await self._bytes(f"{_path('deliveries', delivery)}?raw=1")

    async def reverify(self, source: str | None, *, dry: bool, after: str | None) -> Row:
        """Verify kept requests again."""
        document = {"source": source, "dry_run": dry, "after": after}
        return await self._post("deliveries", "reverify", body=orjson.dumps(document))

    async def reverify_one(self, delivery: str, *, dry: bool) -> Row:
        """Verify one kept request again."""
        return await self._post("deliveries", delivery, "reverify", body=orjson.dumps({"dry_run": dry}))

    async def replay_delivery(self, delivery: str) -> Row:
        """Store a delivery's events again."""
        return await self._post("deliveries", delivery, "replay")

    async def quarantine(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest entries of the quarantine."""
        return await self._get_with("quarantine", _listing(wanted, before, limit))

    async def quarantined(self, key: str) -> Row:
        """Return one entry with its body."""
        return await self._get("quarantine", key)

    async def release(self, key: str) -> Row:
        """Send an entry on."""
        return await self._post("quarantine", key, "release")

    async def discard(self, key: str) -> Row:
        """Take an entry out of quarantine for good."""
        return await self._post("quarantine", key, "discard")

    async def release_edited(self, key: str, data: bytes, *, force: bool) -> Row:
        """Send an entry on with other data."""
        document = b'{"data":' + data + b',"force":' + orjson.dumps(force) + b"}"
        return await self._post("quarantine", key, "release", body=document)

    async def dead(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest dead letters."""
        return await self._get_with("dead", _listing(wanted, before, limit))

    async def dead_letter(self, key: str) -> Row:
        """Return one dead letter."""
        return await self._get("dead", key)

    async def retry_dead(self, key: str) -> Row:
        """Bring a dead letter's run back."""
        return await self._post("dead", key, "retry")

    async def pulse(self) -> Row:
        """Return how the installation is."""
        return await self._get("pulse")

    async def destinations(self) -> list[Row]:
        """Return where events are forwarded to."""
        return await self._list("destinations")

    async def enable_destination(self, name: str) -> Row:
        """Let a destination be sent to again."""
        return await self._post("destinations", name, "enable")

    async def alerts(self) -> Row:
        """Return how alerts stand."""
        return await self._get("alerts")

    async def silence_alerts(self, document: Mapping[str, Any]) -> Row:
        """Silence alerts for a while."""
        return await self._post("alerts", "silences", body=orjson.dumps(document))

    async def end_silence(self, silence: str) -> Row:
        """End a silence."""
        return await self._request("DELETE", _path("alerts", "silences", silence))

    async def test_channel(self, channel: str) -> Row:
        """Have the engine send a test to a channel."""
        return await self._post("alerts", "channels", channel, "test")

    async def schedules(self) -> list[Row]:
        """Return all schedules."""
        return await self._list("schedules")

    async def schedule(self, schedule: str) -> Row:
        """Return one schedule."""
        return await self._get("schedules", schedule)

    async def tell_schedule(self, schedule: str, verb: ScheduleVerb) -> Row:
        """Pause, resume or trigger a schedule."""
        return await self._post("schedules", schedule, verb)

    async def workers(self) -> list[Row]:
        """Return the worker processes that are alive."""
        return await self._list("workers")

    async def _list(self, kind: str, /, **filters: Any) -> list[Row]:
        given = {name: value for name, value in filters.items() if value is not None}
        answer = await self._request("GET", f"{kind}?{urlencode(given)}" if given else kind)
        found = self._member(answer, kind)
        if not isinstance(found, list):
            raise ControlError(
                f"the answer of {self.url} has no list of {kind}",
                hint="is that the control listener of a Tidemill of this version?",
            )
        return found

    async def _get_with(self, path: str, parameters: Mapping[str, Any]) -> Row:
        return await self._request("GET", f"{path}?{urlencode(parameters)}")

    async def _get(self, *names: str) -> Row:
        return await self._request("GET", _path(*names))

    async def _post(self, *names: str, body: bytes = b"") -> Row:
        return await self._request("POST", _path(*names), body)

    async def _bytes(self, path: str) -> bytes:
        """Return a body that needn't be JSON; what is refused raises as everywhere."""
        response = await self._respond("GET", path)
        if not response.is_success:
            self._answer(response)
        return response.content


def _path(*names: str) -> str:
    return "/".join(quote(name, safe="") for name in names)


def _listing(wanted: Mapping[str, str], before: int | None, limit: int) -> dict[str, Any]:
    return {**wanted, "limit": limit} | ({"before": before} if before is not None else {})
