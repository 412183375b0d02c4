"""`tidemill worker`: executes the tasks of handler modules, in one process or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tidemill.cli.invocation import Invocation, invocation
from tidemill.cli.options import Modules, examples
from tidemill.cli.service import report, serve

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings

OUTGROWN: Final = 75
"""Exit code of a worker that held too much memory (EX_TEMPFAIL of sysexits.h): it is to be started again."""
app = typer.Typer()


@app.command(
    "worker",
    epilog=examples(
        "worker tasks.py",
        "worker shop.tasks shop.mail:send_receipt --slots 20",
        "worker shop --processes 4 --no-engine    # with 'tidemill engine' elsewhere",
        "worker tasks.py --republish    # once, to go back to an older version",
    ),
)
def worker(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    modules: Modules,
    *,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Only execute: 'tidemill engine' runs elsewhere.")
    ] = False,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs that one process executes at the same time.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Start so many processes and keep them running.")
    ] = None,
    kept: Annotated[bool, typer.Option("--kept", hidden=True)] = False,
    republish: Annotated[
        bool,
        typer.Option("--republish", help="Put these definitions in force, also over newer ones: a rollback."),
    ] = False,
) -> None:
    """Execute the tasks of handler modules, until SIGTERM or Ctrl-C; runs in work are finished first.

    Exits with 2 if a module doesn't import or a task in it can't be served.
    """
    call = invocation(context)
    settings = call.settings({"worker": _given(slots=slots, processes=processes)})
    engine = settings.worker.engine and not no_engine
    if not kept and (settings.worker.processes > 1 or settings.worker.max_memory is not None):
        _serve_many(call, settings, modules, engine=engine, republish=republish)
        return
    from consumers.loader import load  # noqa: PLC0415 - the broker's client delays --help
    from consumers.process import serve_worker  # noqa: PLC0415 - the same

    tasks = load(modules)

    async def service() -> None:
        if await serve_worker(settings, tasks, engine=engine, report=report, republish=republish):
            raise typer.Exit(OUTGROWN)

    serve(settings, service())


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _serve_many(
    call: Invocation, settings: Settings, modules: list[str], *, engine: bool, republish: bool
) -> None:
    """Keep several worker processes running, and one for the engine beside them."""
    from tidemill.cli.fleet import Member, serve_fleet  # noqa: PLC0415 - the broker's client delays --help

    count = settings.worker.processes
    words = ["worker", "--kept", "--no-engine", "--processes", "1", "--slots", str(settings.worker.slots)]
    if republish:
        words.append("--republish")
    members = [Member(f"worker {number}", (*words, "--", *modules)) for number in range(1, count + 1)]
    if engine:
        members.append(Member("engine", ("engine",)))
    serve(settings, serve_fleet(call, settings, members))
