"""`tidemill dead`: what was given up on, and bringing it back."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from tidemill.cli.asking import ask
from tidemill.cli.bulk import DryRun, Reason, Yes, chosen, do_to_all, go_on
from tidemill.cli.options import (
    Before,
    Limit,
    Since,
    SourceFilter,
    TaskFilter,
    TypeFilter,
    Until,
    examples,
    given,
)  # fmt: skip
from tidemill.cli.output import Json, more_of, say, show_json, show_record, show_rows
from tidemill.cli.several import do_each
from tidemill.kernel.errors import PayloadError

Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="All that fit: task, source, type, outcome, error, since, until; may be repeated.",
    ),
]
_EVER: Final = "since=1970-01-01T00:00:00Z"
app = typer.Typer(name="dead", help="Look at dead letters; bring them back.", no_args_is_help=True)


@app.command(
    "list",
    epilog=examples("dead list --task deploy --json", "dead list --error timeout --since 2h"),
)
def list_dead(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    *,
    task: TaskFilter = None,
    source: SourceFilter = None,
    event_type: TypeFilter = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="WORD", help="Only ended like this: failed, crashed, timed_out, ...")
    ] = None,
    error: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Only with these words in the last error.")
    ] = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest dead letters with their last errors."""
    wanted = given(
        task=task, source=source, type=event_type, outcome=outcome, error=error, since=since, until=until
    )
    found = ask(context, lambda remote: remote.dead(wanted, before=before, limit=limit))
    columns = ("seq", "at", "id", "task", "outcome", "attempts", "error")
    show_rows(found["dead"], columns=columns, as_json=as_json, empty="no dead letters")
    more_of(found, as_json=as_json)


@app.command("show", epilog=examples("dead show run_06emc3d..."))
def show_dead(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or message-N.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one dead letter with every attempt's error."""
    row = ask(context, lambda remote: remote.dead_letter(key))
    if as_json:
        show_json(row)
        return
    show_record(
        {name: value for name, value in row.items() if name not in ("errors", "error")}, as_json=False
    )
    for fault in row["errors"]:
        say(f"\nattempt {fault.get('attempt', '?')}: {fault.get('type', '')}: {fault.get('message', '')}")
        if fault.get("traceback"):
            say(fault["traceback"].rstrip())


@app.command(
    "retry",
    epilog=examples(
        "dead retry run_06emc3d...",
        "dead retry --where task=deploy --where error=timeout --dry-run",
        "dead retry --all --task deploy",
    ),
)
def retry(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of dead letters.")] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="All that are there now, without asking.")
    ] = False,
    task: TaskFilter = None,
    where: Where = None,
    reason: Reason = "",
    dry: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Bring runs back: each goes on from where it stopped, with fresh attempts."""
    if everything == bool(keys or where):
        raise PayloadError(
            "it isn't clear which dead letters are meant", hint="name their ids, or write --where or --all"
        )
    if everything:
        where, yes = [_EVER, *([f"task={task}"] if task else [])], True
    if chosen(keys, where, dry=dry, yes=yes, reason=reason):
        do_to_all(context, "dead", "retry", where, reason=reason, dry=dry, yes=yes, as_json=as_json)
    else:
        do_each(context, keys or (), lambda remote, key: remote.retry_dead(key), as_json=as_json)


app.command("go-on", epilog=examples("dead go-on 5f0c6a1e9d2b48a7c3d1"))(go_on)
