"""`tidemill runs check`: would new code fit the journals of the runs that aren't finished?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.options import Modules
from tidemill.cli.output import Json, say, show_rows
from tidemill.kernel.errors import NotFoundError, SettingsError

if TYPE_CHECKING:
    from consumers.loader import AnyTask
    from consumers.rehearsal import Finding
    from tidemill.kernel.settings.model import Settings

_THREADS: Final = 4


def check(
    context: typer.Context,
    modules: Modules,
    *,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that one run's code may take to come to something new.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Execute new code against the journals of unfinished runs, and name those that it would break.

    No step, wait or child begins and nothing is written; the lines between them are executed, as whenever a
    run is resumed. Exits with 1 if a run would break, or its journal can't be read.
    """
    from consumers.loader import load  # noqa: PLC0415 - the broker's client delays --help

    settings = invocation(context).settings()
    if settings.client.url is not None:
        raise SettingsError(
            "runs check reads journals, which the control API doesn't give out",
            hint="call it without --url, where the broker can be reached: nats.url names it",
        )
    set_up_logs(settings.log, quiet=True)
    findings = asyncio.run(_findings(settings, load(modules), timeout))
    rows = [asdict(finding) for finding in findings]
    shown = rows if as_json else [row for row in rows if row["verdict"] != "fits"]
    if as_json or shown:
        show_rows(shown, columns=("run", "task", "verdict", "reason"), as_json=as_json)
    counts = Counter(finding.verdict for finding in findings)
    if not as_json:
        say(
            f"{len(findings)} unfinished runs: {counts['fits']} fit, {counts['breaks']} would break, "
            f"{counts['undecided']} are undecided"
            + (f", {counts['unreadable']} can't be read" if counts["unreadable"] else "")
        )
    if counts["breaks"] or counts["unreadable"]:
        raise typer.Exit(1)


async def _findings(settings: Settings, tasks: Sequence[AnyTask], timeout: float) -> list[Finding]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - with what needs it

    from consumers.rehearsal import Finding, rehearse  # noqa: PLC0415 - the broker's client delays --help
    from tidemill.durable.branch import follow_tasks  # noqa: PLC0415 - the same
    from tidemill.kernel.services.broker import open_broker  # noqa: PLC0415 - the same
    from tidemill.kernel.services.run_view import UnreadableRun  # noqa: PLC0415 - the same
    from tidemill.kernel.services.runs import Runs  # noqa: PLC0415 - the same

    nats = settings.nats
    if nats.embedded and not nats.data_dir.is_dir():
        raise NotFoundError(
            f"no broker has ever run in {nats.data_dir}", hint="go to the folder of its settings"
        )
    by_name = {name: task for task in tasks for name in (task.id, *task.definition.aliases)}
    follow_tasks(asyncio.get_running_loop())
    found: list[Finding] = []
    threads = ThreadPoolExecutor(_THREADS)
    try:
        async with open_broker(settings, name="command", prepare=nats.embedded) as broker:
            async for view in Runs(broker).unfinished():
                if isinstance(view, UnreadableRun):
                    found.append(Finding(view.id, "", "unreadable", view.reason))
                    continue
                task = by_name.get(view.state.task)
                if task is not None:
                    found.append(await rehearse(task, view, broker.performer, threads, seconds=timeout))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    return found
