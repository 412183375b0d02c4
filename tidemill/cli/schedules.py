"""`tidemill schedules`: when tasks start by themselves, and pausing that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, show_record, show_rows
from tidemill.cli.several import do_each

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote, Row

app = typer.Typer(
    name="schedules", help="See when tasks start by themselves; pause, resume, run now.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="ID", help="The schedule's id: the task's, or TASK:NAME.")]
_LATE: Final = 60.0
Names = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of schedules.")]


@app.command("list", epilog=examples("schedules list", "schedules list --json"))
def list_schedules(context: typer.Context, *, as_json: Json = False) -> None:
    """Show all schedules with their next and last ticks, in their own zones."""
    rows = ask(context, lambda remote: remote.schedules())
    columns = (
        "id",
        "expr",
        "tz",
        "state",
        "next_tick",
        "last_tick",
        "started",
        "missed_ticks",
        "skipped_ticks",
    )
    shown = rows if as_json else [_flat(row) for row in rows]
    show_rows(shown, columns=columns, as_json=as_json, empty="no schedules: give a task schedule=Cron(…)")


@app.command("show", epilog=examples("schedules show report", "schedules show report:monthly --json"))
def show_schedule(context: typer.Context, schedule: Name, *, as_json: Json = False) -> None:
    """Show one schedule with its next five ticks."""
    row = ask(context, lambda remote: remote.schedule(schedule))
    show_record(row if as_json else row | {"next": "\n".join(row["next"])}, as_json=as_json)


@app.command("pause", epilog=examples("schedules pause report", "schedules pause report report:monthly"))
def pause(context: typer.Context, schedules: Names, *, as_json: Json = False) -> None:
    """Let no tick start a run until the schedule is resumed, over restarts and deploys."""
    do_each(context, schedules, _pause, as_json=as_json)


@app.command("resume", epilog=examples("schedules resume report"))
def resume(context: typer.Context, schedules: Names, *, as_json: Json = False) -> None:
    """Let ticks start runs again; what was due meanwhile follows the schedule's `missed`."""
    do_each(context, schedules, _resume, as_json=as_json)


@app.command("trigger", epilog=examples("schedules trigger report", "schedules trigger report --json"))
def trigger(context: typer.Context, schedules: Names, *, as_json: Json = False) -> None:
    """Start a run now, as if a tick had come, also while the schedule is paused."""
    do_each(context, schedules, _trigger, as_json=as_json)


async def _pause(remote: Remote, schedule: str) -> Row:
    return _told(await remote.tell_schedule(schedule, "pause"))


async def _resume(remote: Remote, schedule: str) -> Row:
    return _told(await remote.tell_schedule(schedule, "resume"))


async def _trigger(remote: Remote, schedule: str) -> Row:
    return await remote.tell_schedule(schedule, "trigger")


def _told(row: Row) -> Row:
    return {"schedule": row["id"], "paused": row["paused"], "next": row["next"][:1]}


def _flat(row: Row) -> Row:
    state = "paused" if row["paused"] else "overdue" if row["overdue"] > _LATE else "on"
    return row | {
        "state": row["problem"] or state,
        "next_tick": (row["next"] or [None])[0],
        "last_tick": row["last"]["at"] if row["last"] else None,
    }
