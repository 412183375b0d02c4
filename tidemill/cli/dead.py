"""`tidemill dead`: what was given up on, and bringing it back."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import MAX_LIMIT, Before, Limit, TaskFilter, examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows
from tidemill.cli.remote import Remote, Row
from tidemill.cli.several import do_each, progress, show_outcomes, tried
from tidemill.kernel.errors import PayloadError

app = typer.Typer(name="dead", help="Look at dead letters; bring them back.", no_args_is_help=True)


@app.command("list", epilog=examples("dead list", "dead list --task deploy --json", "dead list --before 512"))
def list_dead(
    context: typer.Context,
    *,
    task: TaskFilter = None,
    before: Before = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the newest dead letters with their last errors."""
    rows = ask(context, lambda remote: remote.dead(task=task, before=before, limit=limit))
    columns = ("seq", "at", "id", "task", "outcome", "attempts", "error")
    show_rows(rows, columns=columns, as_json=as_json, empty="no dead letters")


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


@app.command("retry", epilog=examples("dead retry run_06emc3d...", "dead retry --all --task deploy"))
def retry(
    context: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Ids of dead letters.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that are there.")] = False,
    task: TaskFilter = None,
    as_json: Json = False,
) -> None:
    """Bring runs back: each goes on from where it stopped, with fresh attempts."""
    if everything == bool(keys):
        raise PayloadError(
            "it isn't clear which dead letters are meant", hint="name their ids, or write --all"
        )
    if keys:
        do_each(context, keys, _retry, as_json=as_json)
        return
    show_outcomes(
        ask(context, lambda remote: _retry_all(remote, task)), as_json=as_json, empty="no dead letters"
    )


async def _retry(remote: Remote, key: str) -> Row:
    return await remote.retry_dead(key)


async def _retry_all(remote: Remote, task: str | None) -> list[Row]:
    """Retry one page of letters after another, from the newest to the oldest that is there now."""
    outcomes: dict[str, Row] = {}
    before: int | None = None
    while page := await remote.dead(task=task, before=before, limit=MAX_LIMIT):
        before = page[-1]["seq"]
        for key in progress([row["id"] for row in page if row["id"] not in outcomes]):
            outcomes[key] = await tried(remote, key, _retry)
    return list(outcomes.values())
