"""What commands ask an installation, whichever way they reach it.

Both ways speak in the control API's documents, so that every command is written once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tidemill.cli.remote_secrets import Row, SecretsRemote

if TYPE_CHECKING:
    from tidemill.kernel.decision import Decision

__all__ = ["Remote", "Row", "ScheduleVerb", "Verb"]

Verb = Literal["cancel", "retry"]
ScheduleVerb = Literal["pause", "resume", "trigger"]


class Remote(SecretsRemote, Protocol):
    """What commands ask an installation. Documents are the control API's.

    All raise `NotFoundError` for what doesn't exist, `ConflictError` where the state of things is against
    it, `PayloadError` for input that can't be used, and `BrokerError` or `ControlError` on the way.
    """

    async def start(self, task: str, payload: bytes, options: Mapping[str, Any]) -> Row:
        """Start a run of a task; `options` are those of a trigger."""

    async def tasks(self) -> list[Row]:
        """Return the definitions that events and triggers can start."""

    async def task(self, task: str) -> Row:
        """Return one definition, by its id or an alias."""

    async def end_logins(self, name: str) -> Row:
        """End all logins that somebody has in browsers."""

    async def run_logs(self, run: str, *, after: int, limit: int) -> Row:
        """Return a run's lines after a sequence, of so many messages: `logs`, `after` and `more`."""

    async def audit(self, wanted: Mapping[str, str | None], *, before: int | None, limit: int) -> list[Row]:
        """Return the newest changes, with `wanted` of one `who`, one `action`, to one `target`."""

    async def remove_task(self, task: str) -> Row:
        """Forget a definition, by its id or an alias; return its id as `removed`."""

    async def overrides(self) -> list[Row]:
        """Return what operators have decided about tasks."""

    async def pause_task(self, task: str, reason: str) -> Row:
        """Let none of a task's runs start or go on."""

    async def resume_task(self, task: str) -> Row:
        """Let a task's runs go on."""

    async def limit_task(self, task: str, limit: int | None) -> Row:
        """Let so many of a task's runs execute at once, with None as many as its code says."""

    async def runs(self, *, task: str | None, status: str | None, limit: int) -> list[Row]:
        """Return the runs that changed last, newest first."""

    async def run(self, run: str) -> Row:
        """Return a run with its timeline."""

    async def tell_run(self, run: str, verb: Verb, reason: str) -> Row:
        """Ask a run to end or to go on, and say what it answered."""

    async def replay_run(self, run: str, payload: bytes | None = None) -> Row:
        """Start a new run with the input of an old one, or with another payload, which is JSON text."""

    async def fork_run(self, run: str, at: str | None, key: str | None) -> Row:
        """Start a run that takes over what another had finished before a point; with a `key`, once."""

    async def select(self, what: str, action: str, where: Mapping[str, str], reason: str) -> Row:
        """Select what fits a filter, to do something to all of it; return what is selected.

        It is of `runs`, `dead` letters, or entries of the `quarantine`.
        """

    def execute_selection(self, token: str) -> AsyncIterator[Row]:
        """Do it, and yield how far it is until it is done."""

    async def signal_run(self, run: str, name: str, data: bytes, key: str | None) -> Row:
        """Send a run a signal with data, which are JSON text."""

    async def tokens(self, *, task: str | None, run: str | None, limit: int) -> list[Row]:
        """Return the tokens and approvals that are open, the newest first."""

    async def token(self, token: str) -> Row:
        """Return one with its answers."""

    async def answer(self, token: str, decision: Decision) -> Row:
        """Answer a token or an approval."""

    async def events(
        self, *, source: str | None, event_type: str | None, before: int | None, limit: int
    ) -> list[Row]:
        """Return the newest events, or those before a sequence."""

    async def event(self, event: str) -> Row:
        """Return an event with its data, verdicts and runs."""

    async def event_body(self, event: str) -> bytes:
        """Return an event's body as it was received."""

    async def dry_run(self, order: Mapping[str, Any]) -> Row:
        """Say which tasks an event would start: a stored one by its `id`, or a written `event`."""

    async def replay_event(self, event: str) -> Row:
        """Store an event again under a new id."""

    async def records(self, *, kind: str | None, source: str | None, limit: int) -> list[Row]:
        """Return what was decided about events."""

    async def deliveries(self, wanted: Mapping[str, str], limit: int) -> Row:
        """Return the newest requests as `deliveries`, and as `next` what is `before` to go on.

        `wanted` may say `source`, `verdict`, `reason`, `since` and `before`.
        """

    async def delivery(self, delivery: str) -> Row:
        """Return one with headers and body, by its id or an event's."""

    async def delivery_body(self, delivery: str) -> bytes:
        """Return the body of one as it was received."""

    async def reverify(self, source: str | None, *, dry: bool, after: str | None) -> Row:
        """Verify kept requests again; return them as `reverified`, and as `next` what is `after` to go on."""

    async def reverify_one(self, delivery: str, *, dry: bool) -> Row:
        """Verify one kept request again, by its delivery's id or the name under which it is kept."""

    async def replay_delivery(self, delivery: str) -> Row:
        """Store a delivery's events again under new ids."""

    async def quarantine(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest entries as `quarantine`, and as `next` what is `before` to go on.

        `wanted` may say what a `QuarantineQuery` does.
        """

    async def quarantined(self, key: str) -> Row:
        """Return one entry with its body."""

    async def release(self, key: str) -> Row:
        """Send an entry on."""

    async def discard(self, key: str) -> Row:
        """Take an entry out of quarantine for good."""

    async def release_edited(self, key: str, data: bytes, *, force: bool) -> Row:
        """Send an entry on with other data, which `force` needn't fit their schema."""

    async def dead(self, wanted: Mapping[str, str], *, before: int | None, limit: int) -> Row:
        """Return the newest letters as `dead`, and as `next` what is `before` to go on.

        `wanted` may say what a `DeadQuery` does.
        """

    async def dead_letter(self, key: str) -> Row:
        """Return one dead letter with every attempt's error."""

    async def retry_dead(self, key: str) -> Row:
        """Bring a dead letter's run back."""

    async def destinations(self) -> list[Row]:
        """Return where events are forwarded to."""

    async def enable_destination(self, name: str) -> Row:
        """Let a destination be sent to again; return its name as `enabled`."""

    async def alerts(self) -> Row:
        """Return how alerts stand."""

    async def silence_alerts(self, document: Mapping[str, Any]) -> Row:
        """Silence alerts for a while: `rule`, `key`, `seconds`, `comment`."""

    async def end_silence(self, silence: str) -> Row:
        """End a silence."""

    async def test_channel(self, channel: str) -> Row:
        """Have the engine send a test to a channel of alerts."""

    async def schedules(self) -> list[Row]:
        """Return all schedules with their next ticks."""

    async def schedule(self, schedule: str) -> Row:
        """Return one schedule."""

    async def tell_schedule(self, schedule: str, verb: ScheduleVerb) -> Row:
        """Pause or resume a schedule, or start a run of it; return it, or the run's `run_id`."""

    async def workers(self) -> list[Row]:
        """Return the worker processes that are alive."""

    async def pulse(self) -> Row:
        """Return how the installation is at this moment: queues, stores, roles and workers."""
