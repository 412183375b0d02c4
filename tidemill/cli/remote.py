"""How commands reach an installation: over its control API, or straight to the broker of the settings.

Both ways speak in the control API's documents, so that every command is written once. With `--url` (or
`[client] url`) it is HTTP, otherwise the broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tidemill.cli.invocation import invocation
from tidemill.cli.logs import set_up_logs
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    import typer

    from tidemill.kernel.settings.model import Settings

Row = dict[str, Any]
Verb = Literal["cancel", "retry"]
T = TypeVar("T")


class Remote(Protocol):
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

    async def remove_task(self, task: str) -> Row:
        """Forget a definition, by its id or an alias; return its id as `removed`."""

    async def runs(self, *, task: str | None, status: str | None, limit: int) -> list[Row]:
        """Return the runs that changed last, newest first."""

    async def run(self, run: str) -> Row:
        """Return a run with its timeline."""

    async def tell_run(self, run: str, verb: Verb, reason: str) -> Row:
        """Ask a run to end or to go on, and say what it answered."""

    async def replay_run(self, run: str) -> Row:
        """Start a new run with the input of an old one."""

    async def events(
        self, *, source: str | None, event_type: str | None, before: int | None, limit: int
    ) -> list[Row]:
        """Return the newest events, or those before a sequence."""

    async def event(self, event: str) -> Row:
        """Return an event with its data, verdicts and runs."""

    async def event_body(self, event: str) -> bytes:
        """Return an event's body as it was received."""

    async def replay_event(self, event: str) -> Row:
        """Store an event again under a new id."""

    async def deliveries(self, *, kind: str | None, source: str | None, limit: int) -> list[Row]:
        """Return what became of requests that made no event."""

    async def quarantine(self, *, before: int | None, limit: int) -> list[Row]:
        """Return the newest entries of the quarantine."""

    async def quarantined(self, key: str) -> Row:
        """Return one entry with its body."""

    async def release(self, key: str) -> Row:
        """Send an entry on."""

    async def dead(self, *, task: str | None, before: int | None, limit: int) -> list[Row]:
        """Return the newest dead letters, or those before a sequence."""

    async def dead_letter(self, key: str) -> Row:
        """Return one dead letter with every attempt's error."""

    async def retry_dead(self, key: str) -> Row:
        """Bring a dead letter's run back."""

    async def workers(self) -> list[Row]:
        """Return the worker processes that are alive."""


def ask(context: typer.Context, question: Callable[[Remote], Awaitable[T]]) -> T:
    """Open the way that the global options and settings name, and ask."""
    settings = invocation(context).settings()
    set_up_logs(settings.log, quiet=True)

    async def inside() -> T:
        async with open_remote(settings) as remote:
            return await question(remote)

    return asyncio.run(inside())


@asynccontextmanager
async def open_remote(settings: Settings) -> AsyncIterator[Remote]:
    """Open the way to the installation that the settings name.

    Raises:
        SettingsError: the API key can't be resolved.
        NotFoundError: nothing has ever run with the data directory of the settings.
        BrokerError: the broker can't be reached.
    """
    if settings.client.url is not None:
        async with _over_http(settings, settings.client.url) as remote:
            yield remote
        return
    from tidemill.cli.remote_direct import DirectRemote  # noqa: PLC0415 - the broker's client delays --help
    from tidemill.kernel.services.broker import open_broker  # noqa: PLC0415 - the same

    nats = settings.nats
    if nats.embedded and not nats.data_dir.is_dir():
        raise NotFoundError(
            f"no broker has ever run in {nats.data_dir}",
            hint="start one with 'tidemill dev MODULE', go to its folder, or name a remote one with --url",
        )
    # The embedded broker is ours to prepare; elsewhere a look must not change anything.
    async with open_broker(settings, name="command", prepare=nats.embedded) as broker:
        yield DirectRemote(broker, tuple(settings.sources))


@asynccontextmanager
async def _over_http(settings: Settings, url: str) -> AsyncIterator[Remote]:
    from tidemill.cli.remote_http import HttpRemote  # noqa: PLC0415 - the HTTP client delays --help

    key = settings.client.key
    remote = HttpRemote(url, key.resolve(settings.inputs.environ).reveal() if key else None)
    await remote.open()
    try:
        yield remote
    finally:
        await remote.close()
