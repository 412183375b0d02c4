"""`tidemill top`: the installation in the terminal, live."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tidemill.cli.asking import open_remote
from tidemill.cli.invocation import invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.options import examples
from tidemill.cli.output import Json, cell, printable, show_json
from tidemill.kernel.errors import BrokerError, ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from tidemill.cli.remote import Remote, Row

app = typer.Typer()
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_OVERDUE = 2.0
"""Seconds by which a tick may be looked at late without a word."""


@app.command("top", epilog=examples("top", "top --every 5", "top --once", "top --json"))
def top(
    context: typer.Context,
    *,
    every: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch queues, workers and streams until Ctrl-C."""
    settings = invocation(context).settings()
    set_up_logs(settings.log, quiet=True)

    async def inside() -> None:
        async with open_remote(settings) as remote:
            if as_json:
                show_json(await remote.pulse())
            elif once:
                Console(highlight=False).print(picture(await remote.pulse(), None))
            else:
                await _watch(remote, every)

    with suppress(KeyboardInterrupt):
        asyncio.run(inside())


async def _watch(remote: Remote, every: float) -> None:
    """Draw a picture every few seconds; what can't be reached now may be the next time."""
    before: Row | None = None
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        while True:
            begun = time.monotonic()
            try:
                pulse = await remote.pulse()
            except (BrokerError, ControlError) as error:
                live.update(Text(printable(error.sentence), style="red"), refresh=True)
            else:
                live.update(picture(pulse, before), refresh=True)
                before = pulse
            await asyncio.sleep(max(0.1, every - (time.monotonic() - begun)))


def picture(pulse: Row, before: Row | None) -> RenderableType:
    """Return a pulse as it is shown; `before` is the last one, which rates are reckoned from."""
    parts = [_queues(pulse), _workers(pulse), _stores(pulse, before)]
    schedules = _schedules(pulse)
    return Group(_head(pulse), *([schedules] if schedules is not None else []), *_apart(parts))


def _apart(parts: Sequence[RenderableType]) -> Iterator[RenderableType]:
    for part in parts:
        yield from (Text(), part)


def _head(pulse: Row) -> Text:
    waiting = sum(queue["waiting"] for queue in pulse["queues"])
    executing = sum(queue["executing"] for queue in pulse["queues"])
    messages = {store["name"]: store["messages"] for store in pulse["stores"]}
    facts = {
        "waiting": waiting,
        "executing": executing,
        "asleep": pulse["asleep"],
        "quarantined": messages["QUARANTINE"],
        "dead": messages["DEAD"],
        **{f"{role} behind": lag for role, lag in pulse["lags"].items() if lag},
    }
    clock = time.strftime("%H:%M:%S", time.localtime(pulse["at"]))
    return Text.assemble((clock, "dim"), *(f"   {name} {number}" for name, number in facts.items()))


def _schedules(pulse: Row) -> Text | None:
    """Return a line on all schedules; None where there are none."""
    told = pulse["schedules"]
    if not told["active"] and not told["paused"]:
        return None
    facts = {name: told[name] for name in ("active", "paused", "missed", "skipped") if told[name]}
    line = Text("schedules", style="dim")
    line.append("".join(f"   {name} {number}" for name, number in facts.items()), style="not dim")
    if told["overdue"] >= _OVERDUE:
        line.append(f"   {told['first']} is {_duration(told['overdue'])} overdue", style="not dim red")
    elif told["next"] is not None:
        until = _duration(told["next"] - pulse["at"])
        line.append(f"   next {told['first']} in {until}", style="not dim")
    return line


def _queues(pulse: Row) -> Table:
    table = _table("task", "waiting", "executing", "limit", "oldest waits")
    for queue in sorted(pulse["queues"], key=lambda queue: (-queue["waiting"], queue["task"])):
        age = "" if queue["since"] is None else _duration(pulse["at"] - queue["since"])
        name = f"{queue['task']} (paused)" if queue.get("paused") else queue["task"]
        numbers = (cell(queue[one]) for one in ("waiting", "executing", "limit"))
        table.add_row(cell(name), *numbers, age)
    return table


def _workers(pulse: Row) -> Table:
    table = _table("worker", "host", "up", "busy", "slots", "tasks")
    for worker in pulse["workers"]:
        up = _duration(pulse["at"] - worker["started_at"])
        numbers = (cell(worker["busy"]), cell(worker["slots"]))
        table.add_row(
            cell(worker["id"]), cell(worker["host"]), up, *numbers, cell(", ".join(worker["tasks"]))
        )
    return table


def _stores(pulse: Row, before: Row | None) -> Table:
    table = _table("stream", "messages", "a second", "size", "of")
    earlier = {store["name"]: store["messages"] for store in before["stores"]} if before else {}
    seconds = pulse["at"] - before["at"] if before else 0.0
    for store in pulse["stores"]:
        grown = store["messages"] - earlier.get(store["name"], store["messages"])
        rate = f"{grown / seconds:+.0f}" if seconds > 0 and grown else ""
        limit = "" if store["limit"] is None else _size(store["limit"])
        table.add_row(store["name"], cell(store["messages"]), rate, _size(store["bytes"]), limit)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _size(number: int) -> str:
    size: float = number
    for unit in _UNITS[:-1]:
        if size < _STEP:
            return f"{size:.0f} {unit}"
        size /= _STEP
    return f"{size:.0f} {_UNITS[-1]}"


def _duration(seconds: Any) -> str:
    whole = max(0, int(seconds))
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"
