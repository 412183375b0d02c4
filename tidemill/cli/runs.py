"""`tidemill runs`: what became of tasks' executions, and sending them on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from tidemill.cli.asking import ask
from tidemill.cli.bulk import DryRun, Yes, chosen, do_to_all, go_on
from tidemill.cli.options import Limit, TaskFilter, examples
from tidemill.cli.output import Json, say, show_record, show_rows, shown_width, shows_unicode
from tidemill.cli.remote import Row
from tidemill.cli.run_logs import show_logs
from tidemill.cli.runs_check import check
from tidemill.cli.runs_fork import fork
from tidemill.cli.several import do_each
from tidemill.cli.trigger import read_payload
from tidemill.cli.waterfall import waterfall
from tidemill.kernel.errors import PayloadError

app = typer.Typer(
    name="runs", help="Look at runs; signal, cancel, retry, replay and fork them.", no_args_is_help=True
)
MaybeRuns = Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="The runs' ids.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the run's journal.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="All runs that fit: status, task, source, type, tag, text, since, until, error, parent, root, "
        "replayof; may be repeated.",
    ),
]
_COLUMNS = ("run_id", "task", "status", "attempt", "created_at", "changed_at", "event_type", "error")
_SHOWN_ELSEWHERE = ("errors", "timeline", "waits")
_PLACE = ("seq", "at", "kind", "after")


@app.command(
    "list", epilog=examples("runs list", "runs list --status failed --task deploy -n 10", "runs list --json")
)
def list_runs(
    context: typer.Context,
    *,
    task: TaskFilter = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="delayed, queued, running, completed, failed, ...")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the runs that changed last, newest first."""
    rows = ask(context, lambda remote: remote.runs(task=task, status=status, limit=limit))
    shown = rows if as_json else [_flat(row) for row in rows]
    show_rows(shown, columns=_COLUMNS, as_json=as_json, empty="no runs")


@app.command("show", epilog=examples("runs show run_06emc3d...", "runs show run_06emc3d... --json"))
def show_run(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a run: what it was given, a waterfall, what happened when, and every attempt's error."""
    row = ask(context, lambda remote: remote.run(run))
    if as_json:
        show_record(row, as_json=True)
        return
    show_record(
        {name: _shown(value) for name, value in row.items() if name not in _SHOWN_ELSEWHERE}, as_json=False
    )
    say("")
    for line in waterfall(row["timeline"], width=shown_width(), unicode=shows_unicode()):
        say(line)
    say("")
    show_rows(_timeline(row), columns=("seq", "at", "after", "what", "detail"), as_json=False)
    for fault in row["errors"]:
        say(f"\nattempt {fault['attempt']}: {fault['type']}: {fault['message']}")
        if fault.get("traceback"):
            say(fault["traceback"].rstrip())


@app.command("why", epilog=examples("runs why run_06emc3d..."))
def why(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    *,
    as_json: Json = False,
) -> None:
    """Say in one sentence what a run is waiting for and what would move it."""
    row = ask(context, lambda remote: remote.run(run))
    if as_json:
        show_record({name: row[name] for name in ("run_id", "status", "why", "waits")}, as_json=True)
    else:
        say(row["why"])


app.command("logs", epilog=examples("runs logs run_06emc3d...", "runs logs run_06emc3d... -f"))(show_logs)


app.command(
    "check",
    epilog=examples("runs check shop.tasks", "runs check tasks.py --json    # in CI, before a deploy"),
)(check)


def _tell(verb: Literal["cancel", "retry"]) -> Callable[..., None]:
    """Return the command that tells this to runs, whether their ids or a filter choose them."""

    def command(  # noqa: PLR0913 - one parameter an option
        context: typer.Context,
        runs: MaybeRuns = None,
        *,
        reason: Reason = "",
        where: Where = None,
        dry: DryRun = False,
        yes: Yes = False,
        as_json: Json = False,
    ) -> None:
        if chosen(runs, where, dry=dry, yes=yes):
            do_to_all(context, "runs", verb, where, reason=reason, dry=dry, yes=yes, as_json=as_json)
            return
        do_each(context, runs or (), lambda remote, run: remote.tell_run(run, verb, reason), as_json=as_json)

    return command


app.command(
    "cancel",
    help="Ask runs to end. One that is executing is interrupted at its next await.",
    epilog=examples(
        "runs cancel run_06emc3d... --reason 'wrong branch'",
        "runs cancel --where task=deploy --where since=1h --dry-run",
    ),
)(_tell("cancel"))


app.command(
    "retry",
    help="Let the same runs go on from where they failed, with fresh attempts.",
    epilog=examples("runs retry run_06emc3d...", "runs retry --where status=failed --where since=1h"),
)(_tell("retry"))


@app.command(
    "replay",
    epilog=examples(
        "runs replay run_06emc3d...",
        "runs replay run_06emc3d... --payload '{\"number\": 42}'",
        "runs replay --where task=report --where since=24h --yes",
    ),
)
def replay(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    runs: MaybeRuns = None,
    *,
    payload: Annotated[
        str | None,
        typer.Option(metavar="JSON|@FILE|-", help="Another input instead; - reads standard input."),
    ] = None,
    where: Where = None,
    dry: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Start new runs with the inputs of old ones, linked to them; of closed ones the history has them."""
    if chosen(runs, where, dry=dry, yes=yes):
        if payload is not None:
            raise PayloadError("--payload is for runs by their ids", hint="leave it out, or name the runs")
        do_to_all(context, "runs", "replay", where, dry=dry, yes=yes, as_json=as_json)
        return
    body = read_payload(payload) if payload is not None else None
    do_each(context, runs or (), lambda remote, run: remote.replay_run(run, body), as_json=as_json)


app.command(
    "fork",
    epilog=examples("runs fork run_06emc3d... --at charge", "runs fork run_06emc3d...    # where it stands"),
)(fork)


app.command("go-on", epilog=examples("runs go-on 5f0c6a1e9d2b48a7c3d1"))(go_on)


@app.command(
    "signal",
    epilog=examples(
        "runs signal run_06emc3d... go",
        'runs signal run_06emc3d... address --data \'{"street": "Main St 1"}\'',
    ),
)
def signal(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal's name, as the code has it.")],
    *,
    data: Annotated[
        str, typer.Option(metavar="JSON|@FILE|-", help="What it brings; - reads standard input.")
    ] = "null",
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: with the same one it arrives once.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a run a signal; it is kept until the run's code asks for it."""
    body = read_payload(data)
    show_record(ask(context, lambda remote: remote.signal_run(run, name, body, key)), as_json=as_json)


def _flat(row: Row) -> Row:
    errors = row.get("errors") or []
    return row | {
        "event_type": (row.get("event") or {}).get("type"),
        "error": f"{errors[-1]['type']}: {errors[-1]['message']}" if errors else row.get("reason") or None,
    }


def _shown(value: Any) -> Any:
    """Leave out what is empty; a record shows what has a value."""
    if isinstance(value, dict) and value.keys() == {"run", "at", "key"}:
        return f"{value['run']} at {value['key'] or value['at']}"
    return None if value in ("", [], {}) else value


def _timeline(row: Row) -> list[Row]:
    """Return the timeline's entries as lines: number, when, how long after the one before, what, facts."""
    lines: list[Row] = []
    before: datetime | None = None
    for entry in row["timeline"]:
        at = datetime.fromisoformat(entry["at"])
        after = f"+{(at - before).total_seconds():.3f} s" if before is not None else None
        told = [_fact(name, value) for name, value in entry.items() if name not in _PLACE and value]
        detail = ", ".join(told)
        lines.append(
            {"seq": entry.get("seq"), "at": at, "after": after, "what": entry["kind"], "detail": detail}
        )
        before = at
    return lines


def _fact(name: str, value: Any) -> str:
    """Return a fact of the timeline in a few words."""
    if name == "waits":
        return "; ".join(" ".join(filter(None, (one["kind"], one["key"], _by(one)))) for one in value)
    if name == "items":
        return "; ".join(f"{one['box']} {'yes' if one['ok'] else 'no'} from {one['who']}" for one in value)
    if name == "taken":
        return f"taken over: {', '.join(value)}"
    return f"{name} {value}"


def _by(wait: Row) -> str:
    return f"until {wait['until']}" if "until" in wait else ""
