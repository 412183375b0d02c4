"""Several processes of one kind under one command: each is started again when it dies, all stop together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

from consumers.process import stop_signals
from tidemill.cli.child import Child
from tidemill.cli.keeper import Keeper
from tidemill.cli.service import report
from tidemill.kernel.services.broker import open_access

if TYPE_CHECKING:
    from tidemill.cli.invocation import Invocation
    from tidemill.kernel.settings.model import Settings

RELEASE_SECONDS: Final = 15.0
"""What a worker needs after its shutdown timeout, to give back what it couldn't finish."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a fleet: its name in the log, and the command that it runs."""

    name: str
    words: tuple[str, ...]


def patience(settings: Settings) -> float:
    """Return how long a process may take to stop, in seconds."""
    return settings.worker.shutdown_timeout + RELEASE_SECONDS


async def serve_fleet(call: Invocation, settings: Settings, members: Sequence[Member]) -> None:
    """Keep all members running until SIGTERM or SIGINT; this process owns the embedded broker.

    Raises:
        BrokerError: the embedded broker doesn't start.
        typer.Exit: a member can't work with what it was given.
    """
    codes: list[int] = []
    async with open_access(settings):
        with stop_signals() as stopping:

            async def keep(member: Member) -> None:
                launch = partial(
                    Child.start,
                    member.name,
                    member.words,
                    config=call.config,
                    environ=settings.inputs.environ,
                )
                code = await Keeper(launch, patience=patience(settings)).run(stopping)
                if code:
                    codes.append(code)
                    stopping.set()

            async with asyncio.TaskGroup() as group:
                for member in members:
                    group.create_task(keep(member), name=f"keep {member.name}")
                report(f"{len(members)} processes: {', '.join(member.name for member in members)}")
    if codes:
        raise typer.Exit(codes[0])
