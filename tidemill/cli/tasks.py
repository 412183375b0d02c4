"""`tidemill tasks`: the tasks that workers have published."""

from __future__ import annotations

from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows

app = typer.Typer(name="tasks", help="Look at tasks; remove those that are gone.", no_args_is_help=True)
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id or an alias.")]


@app.command("list", epilog=examples("tasks list", "tasks list --json"))
def list_tasks(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the tasks that events and triggers can start."""
    rows = ask(context, lambda remote: remote.tasks())
    if not as_json:
        rows = [row | {"on": ", ".join(row["on"]), "attempts": row["retry"]["max_attempts"]} for row in rows]
    columns = ("id", "on", "where", "attempts", "concurrency", "timeout")
    show_rows(rows, columns=columns, as_json=as_json, empty="no tasks: start a worker that serves some")


@app.command("show", epilog=examples("tasks show deploy"))
def show_task(context: typer.Context, task: TaskId, *, as_json: Json = False) -> None:
    """Show a task's definition, with the JSON Schema of its payload."""
    row = ask(context, lambda remote: remote.task(task))
    if as_json:
        show_json(row)
        return
    schema = row.pop("payload_schema", None)
    show_record({name: value or None for name, value in row.items()}, as_json=False)
    if schema is not None:
        say("\npayload schema")
        show_json(schema)


@app.command("remove", epilog=examples("tasks remove old-report"))
def remove(context: typer.Context, task: TaskId, *, as_json: Json = False) -> None:
    """Forget a task, so that no event starts it any more. A worker that still serves it brings it back."""
    row = ask(context, lambda remote: remote.remove_task(task))
    if as_json:
        show_json(row)
    else:
        say(f"removed {row['removed']}")
