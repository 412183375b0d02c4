"""The way to an installation: over its control API with `--url` or `[client] url`, otherwise its broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from tidemill.cli.invocation import invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.remote import Remote
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    import typer

    from tidemill.kernel.settings.model import Settings

T = TypeVar("T")


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
    from tidemill.cli.remote_audited import AuditedRemote  # noqa: PLC0415 - the broker's client delays --help
    from tidemill.kernel.services.broker import open_broker  # noqa: PLC0415 - the same

    nats = settings.nats
    if nats.embedded and not nats.data_dir.is_dir():
        raise NotFoundError(
            f"no broker has ever run in {nats.data_dir}",
            hint="start one with 'tidemill dev MODULE', go to its folder, or name a remote one with --url",
        )
    # The embedded broker is ours to prepare; elsewhere a look must not change anything.
    async with open_broker(settings, name="command", prepare=nats.embedded) as broker:
        yield AuditedRemote(broker, settings)


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
