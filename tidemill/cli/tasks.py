"""`tidemill tasks`: the tasks that workers have published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote, Row

app = typer.Typer(name="tasks", help="Look at tasks; pause, resume and limit them.", no_args_is_help=True)
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id or an alias.")]


@app.command("list", epilog=examples("tasks list", "tasks list --json"))
def list_tasks(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the tasks that events, schedules and triggers can start."""
    rows = ask(context, _with_decisions)
    if not as_json:
        rows = [_line(row) for row in rows]
    columns = ("id", "on", "where", "schedule", "attempts", "concurrency", "limit", "paused", "timeout")
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


@app.command("pause", epilog=examples("tasks pause deploy --reason 'the registry is down'"))
def pause(
    context: typer.Context,
    task: TaskId,
    *,
    reason: Annotated[str, typer.Option(help="Why; shown wherever it is paused.")] = "",
    as_json: Json = False,
) -> None:
    """Let none of a task's runs start or go on. Nothing is lost; what executes goes on to its end."""
    _tell(ask(context, lambda remote: remote.pause_task(task, reason)), as_json=as_json)


@app.command("resume", epilog=examples("tasks resume deploy"))
def resume(context: typer.Context, task: TaskId, *, as_json: Json = False) -> None:
    """Let a paused task's runs go on."""
    _tell(ask(context, lambda remote: remote.resume_task(task)), as_json=as_json)


@app.command("limit", epilog=examples("tasks limit deploy 2", "tasks limit deploy --reset"))
def limit(
    context: typer.Context,
    task: TaskId,
    number: Annotated[int | None, typer.Argument(metavar="N", help="Runs at once, over all workers.")] = None,
    *,
    reset: Annotated[bool, typer.Option("--reset", help="As many as the task's code says.")] = False,
    as_json: Json = False,
) -> None:
    """Let so many of a task's runs execute at once, whatever this and later versions of its code say."""
    if (number is None) != reset:
        raise PayloadError("name a number, or --reset", hint="like: tidemill tasks limit deploy 2")
    _tell(ask(context, lambda remote: remote.limit_task(task, number)), as_json=as_json)


def _line(row: Row) -> Row:
    """Return a task with what is a list or a table in few words."""
    schedules = ", ".join(rule["expr"] for rule in row.get("schedules", ()))
    return row | {
        "on": ", ".join(row["on"]),
        "schedule": schedules,
        "attempts": row["retry"]["max_attempts"],
    }


async def _with_decisions(remote: Remote) -> list[Row]:
    """Return the tasks, with what operators have decided about each."""
    decided = {row["task"]: row for row in await remote.overrides()}
    nothing: Row = {"paused": False, "limit": None}
    told = ((row, decided.get(row["id"], nothing)) for row in await remote.tasks())
    return [row | {name: above[name] for name in nothing} for row, above in told]


def _tell(row: Row, *, as_json: bool) -> None:
    show_record(row if as_json else {name: value or None for name, value in row.items()}, as_json=as_json)
