"""`tidemill events tail`: events as they come."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import SourceFilter, TaskFilter
from tidemill.cli.output import printable
from tidemill.kernel import backoff
from tidemill.kernel.errors import BrokerError, ControlError, NotFoundError

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote, Row

PAUSE: Final = 0.5
_PAGE: Final = 100
_ROUTED: Final = 6
"""So often it is looked at whether an event has started a run of a task, before it is passed over."""
_LONGEST_PAUSE: Final = 10.0


def tail(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    source: SourceFilter = None,
    event_type: Annotated[
        str | None, typer.Option("--type", metavar="PATTERN", help="Like github.push or github.issues.*")
    ] = None,
    task: TaskFilter = None,
    last: Annotated[int, typer.Option("--last", "-n", min=0, max=_PAGE, help="Begin with so many.")] = 10,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show the newest events, and then each one as it comes, until Ctrl-C.

    With --task those that have started a run of that task.
    """

    async def follow(remote: Remote) -> None:
        if task is not None:
            await remote.task(task)
        left = count
        async for row in Tail(remote, source, event_type, task).events(last):
            line = orjson.dumps(row).decode() if as_json else _line(row)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            left = None if left is None else left - 1
            if left == 0:
                return

    try:
        ask(context, follow)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Nobody reads any more. What Python flushes at its end goes nowhere, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Tail:
    """The events of an installation from now on.

    Args:
        remote: the installation.
        source: of this source only.
        event_type: of types that fit this pattern.
        task: those that have started a run of this task.
    """

    def __init__(self, remote: Remote, source: str | None, event_type: str | None, task: str | None) -> None:
        self._remote = remote
        self._source = source
        self._type = event_type
        self._task = task
        self._seq = 0

    async def events(self, last: int) -> AsyncIterator[Row]:
        """Yield the last events, the oldest first, and then what comes.

        While the installation is away it is asked again, after a growing pause.

        Raises:
            TidemillError: it can't be asked at the start.
        """
        rows = await self._newest()
        self._seq = rows[0]["seq"] if rows else 0
        for row in reversed(rows[:last]):
            if await self._is_wanted(row, tries=1):
                yield row
        failures = 0
        while True:
            try:
                rows = await self._since()
            except (BrokerError, ControlError) as error:
                failures += 1
                await self._pause(failures, error.sentence)
                continue
            failures = 0
            for row in rows:
                if await self._is_wanted(row, tries=_ROUTED):
                    yield row
                self._seq = max(self._seq, int(row["seq"]))
            await asyncio.sleep(PAUSE)

    async def _newest(self, before: int | None = None) -> list[Row]:
        return await self._remote.events(
            source=self._source, event_type=self._type, before=before, limit=_PAGE
        )

    async def _since(self) -> list[Row]:
        """Return what has come since, the oldest first."""
        found: list[Row] = []
        before: int | None = None
        while True:
            page = await self._newest(before)
            new = [row for row in page if int(row["seq"]) > self._seq]
            found += new
            if len(new) < _PAGE:
                return found[::-1]
            before = int(page[-1]["seq"])

    async def _is_wanted(self, row: Row, *, tries: int) -> bool:
        """Say whether an event has started a run of the task; one that is new may not be routed yet."""
        if self._task is None:
            return True
        for _ in range(tries):
            try:
                found = await self._remote.event(str(row["key"]))
            except NotFoundError:
                return False
            except (BrokerError, ControlError):
                found = {"runs": [], "verdicts": []}
            if any(run["task"] == self._task for run in found["runs"]):
                return True
            if found["verdicts"]:
                return False
            await asyncio.sleep(PAUSE)
        return False

    @staticmethod
    async def _pause(failures: int, why: str) -> None:
        seconds = backoff.delay(
            failures, factor=2, min_delay=PAUSE, max_delay=_LONGEST_PAUSE, jitter=backoff.spread()
        )
        sys.stderr.write(f"{printable(why)}; again in {seconds:.1f} s\n")
        sys.stderr.flush()
        await asyncio.sleep(seconds)


def _line(row: Row) -> str:
    """Return an event in one line: when, its number, what it is, and who sent it."""
    moment = datetime.fromisoformat(str(row["received_at"])).astimezone().strftime("%H:%M:%S")
    told: list[Any] = [moment, row["seq"], row["type"], row["source"], row["id"], row.get("subject") or ""]
    if row.get("replayof"):
        told.append(f"replay of {row['replayof']}")
    return printable("  ".join(str(one) for one in told)).replace("\n", " ").rstrip()
