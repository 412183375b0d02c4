"""Changes that the command line makes on the broker itself: they stand in the record of changes as well."""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from tidemill.cli.remote_direct import DirectRemote
from tidemill.kernel.errors import PayloadError, TidemillError
from tidemill.kernel.services.audit import DONE, Audit, Change

if TYPE_CHECKING:
    from tidemill.cli.remote import Row, ScheduleVerb, Verb
    from tidemill.kernel.decision import Decision
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings


class AuditedRemote(DirectRemote):
    """Speaks to the broker itself, in the name of the system's user."""

    def __init__(self, broker: Broker, settings: Settings) -> None:
        super().__init__(broker, settings)
        self._audit = Audit(broker.bus)

    async def audit(self, wanted: Mapping[str, str | None], *, before: int | None, limit: int) -> list[Row]:
        """Return the newest changes."""
        return await self._audit.list(before=before, limit=limit, **wanted)

    async def end_logins(self, name: str) -> Row:
        """End all logins that somebody has in browsers."""
        from gateway.access.revocations import Revocations  # noqa: PLC0415 - the gateway delays other commands

        async with self._change("logins.delete", name):
            await Revocations(self._broker.sessions).end_all(name, time.time())
        return {"ended": name}

    async def start(self, task: str, payload: bytes, options: Mapping[str, Any]) -> Row:
        """Start a run of a task."""
        async with self._change("tasks.trigger", task):
            return await super().start(task, payload, options)

    async def remove_task(self, task: str) -> Row:
        """Forget a definition."""
        async with self._change("tasks.delete", task):
            return await super().remove_task(task)

    async def pause_task(self, task: str, reason: str) -> Row:
        """Let none of a task's runs start or go on."""
        async with self._change("tasks.pause", task):
            return await super().pause_task(task, reason)

    async def resume_task(self, task: str) -> Row:
        """Let a task's runs go on."""
        async with self._change("tasks.resume", task):
            return await super().resume_task(task)

    async def limit_task(self, task: str, limit: int | None) -> Row:
        """Let so many of a task's runs execute at once."""
        async with self._change("tasks.limit", task):
            return await super().limit_task(task, limit)

    async def tell_run(self, run: str, verb: Verb, reason: str) -> Row:
        """Ask a run to end or to go on."""
        async with self._change(f"runs.{verb}", run):
            return await super().tell_run(run, verb, reason)

    async def replay_run(self, run: str, payload: bytes | None = None) -> Row:
        """Start a new run with the input of an old one, or with another payload."""
        async with self._change("runs.replay", run):
            return await super().replay_run(run, payload)

    async def fork_run(self, run: str, at: str | None, key: str | None) -> Row:
        """Start a run that takes over what another had finished before a point."""
        async with self._change("runs.fork", run):
            return await super().fork_run(run, at, key)

    async def execute_selection(self, token: str) -> AsyncIterator[Row]:
        """Do something to all of a selection: one entry for all of it."""
        selection, progress = await self._bulk.find(token)
        detail = selection.noted(progress)
        entry = await self._audit.begin(self._made("bulk.execute", token))
        outcome = "it was cut short"
        try:
            async for row in super().execute_selection(token):
                yield row
            outcome = DONE
        except TidemillError as error:
            outcome = error.sentence
            raise
        finally:
            await self._audit.end(entry, outcome, detail)

    async def signal_run(self, run: str, name: str, data: bytes, key: str | None) -> Row:
        """Send a run a signal."""
        async with self._change("runs.signals", f"{run}/{name}"):
            return await super().signal_run(run, name, data, key)

    async def answer(self, token: str, decision: Decision) -> Row:
        """Answer a token or an approval."""
        async with self._change("tokens.complete", token):
            return await super().answer(token, decision)

    async def replay_event(self, event: str) -> Row:
        """Store an event again."""
        async with self._change("events.replay", event):
            return await super().replay_event(event)

    async def reverify(self, source: str | None, *, dry: bool, after: str | None) -> Row:
        """Verify kept requests again."""
        if dry:
            return await super().reverify(source, dry=dry, after=after)
        async with self._change("deliveries.reverify", source or ""):
            return await super().reverify(source, dry=dry, after=after)

    async def reverify_one(self, delivery: str, *, dry: bool) -> Row:
        """Verify one kept request again."""
        if dry:
            return await super().reverify_one(delivery, dry=dry)
        async with self._change("deliveries.reverify", delivery):
            return await super().reverify_one(delivery, dry=dry)

    async def replay_delivery(self, delivery: str) -> Row:
        """Store a delivery's events again."""
        async with self._change("deliveries.replay", delivery):
            return await super().replay_delivery(delivery)

    async def release(self, key: str) -> Row:
        """Send an entry on."""
        async with self._change("quarantine.release", key):
            return await super().release(key)

    async def release_edited(self, key: str, data: bytes, *, force: bool) -> Row:
        """Send an entry on with other data: the entry names the places that changed."""
        entry = await self._audit.begin(self._made("quarantine.release", key))
        outcome, detail = "it was cut short", dict[str, str]()
        try:
            found, amendment = await self._amended(key, data, getpass.getuser(), force=force)
            detail = amendment.told()
            released = await self._quarantine.release(found, amendment.edit)
            outcome = DONE
        except PayloadError:
            outcome = "the edited data can't be taken"  # what is wrong with them quotes them
            raise
        except TidemillError as error:
            outcome = error.sentence
            raise
        finally:
            await self._audit.end(entry, outcome, detail)
        return released | {"edited": amendment.paths}

    async def discard(self, key: str) -> Row:
        """Take an entry out of quarantine for good."""
        async with self._change("quarantine.discard", key):
            return await super().discard(key)

    async def silence_alerts(self, document: Mapping[str, Any]) -> Row:
        """Silence alerts for a while."""
        async with self._change("alerts.silences", f"{document.get('rule')} {document.get('key')}"):
            return await super().silence_alerts(document)

    async def end_silence(self, silence: str) -> Row:
        """End a silence."""
        async with self._change("alerts.silences.delete", silence):
            return await super().end_silence(silence)

    async def test_channel(self, channel: str) -> Row:
        """Have the engine send a test to a channel."""
        async with self._change("alerts.channels.test", channel):
            return await super().test_channel(channel)

    async def tell_schedule(self, schedule: str, verb: ScheduleVerb) -> Row:
        """Pause, resume or trigger a schedule."""
        async with self._change(f"schedules.{verb}", schedule):
            return await super().tell_schedule(schedule, verb)

    async def retry_dead(self, key: str) -> Row:
        """Bring a dead letter's run back."""
        async with self._change("dead.retry", key):
            return await super().retry_dead(key)

    async def learned_secret(self, source: str) -> Row:
        """Return the secret that a source has learned."""
        async with self._change("sources.secret.reveal", source):
            return await super().learned_secret(source)

    async def forget_secret(self, source: str) -> Row:
        """Forget it."""
        async with self._change("sources.secret.delete", source):
            return await super().forget_secret(source)

    async def add_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a secret."""
        async with self._change("sources.tenants.secrets", f"{source}/{tenant}"):
            return await super().add_tenant_secret(source, tenant, order)

    async def rotate_tenant_secret(self, source: str, tenant: str, order: Mapping[str, Any]) -> Row:
        """Give a tenant a new secret."""
        async with self._change("sources.tenants.secrets.rotate", f"{source}/{tenant}"):
            return await super().rotate_tenant_secret(source, tenant, order)

    async def revoke_tenant_secret(self, source: str, tenant: str, secret: str | None) -> Row:
        """Take a secret away."""
        action = "sources.tenants.delete" if secret is None else "sources.tenants.secrets.delete"
        async with self._change(action, "/".join(filter(None, (source, tenant, secret)))):
            return await super().revoke_tenant_secret(source, tenant, secret)

    async def rewrap(self) -> Row:
        """Encrypt all secrets anew."""
        async with self._change("secrets.rewrap", ""):
            return await super().rewrap()

    def _change(self, action: str, target: str) -> AbstractAsyncContextManager[None]:
        return self._audit.change(self._made(action, target))

    @staticmethod
    def _made(action: str, target: str) -> Change:
        return Change(getpass.getuser(), "cli", action, target, socket.gethostname())
