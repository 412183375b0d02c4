"""`tidemill alerts`: what needs somebody, who was told, and who shall not be told for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, complain, show_record, show_rows
from tidemill.kernel.clock import seconds
from tidemill.kernel.errors import ConflictError

if TYPE_CHECKING:
    from tidemill.cli.remote import Row

app = typer.Typer(name="alerts", help="Look at alerts, silence them, and try channels.", no_args_is_help=True)


@app.command("list", epilog=examples("alerts list", "alerts list --json"))
def list_alerts(context: typer.Context, *, as_json: Json = False) -> None:
    """Show what fires, and what is about to."""
    shown = _shown(context)
    columns = ("status", "rule", "key", "value", "total", "since", "told_at", "silenced")
    show_rows(shown["alerts"], columns=columns, as_json=as_json, empty="nothing fires")


@app.command("rules", epilog=examples("alerts rules", "alerts rules --json"))
def list_rules(context: typer.Context, *, as_json: Json = False) -> None:
    """Show the rules that the engine evaluates."""
    columns = ("name", "kind", "threshold", "window", "lasting", "tasks", "sources", "channels", "severity")
    show_rows(_shown(context)["rules"], columns=columns, as_json=as_json, empty="no rules")


@app.command("channels", epilog=examples("alerts channels", "alerts channels --json"))
def list_channels(context: typer.Context, *, as_json: Json = False) -> None:
    """Show where alerts are told, and how each channel is doing."""
    columns = ("name", "kind", "sent", "failed", "held_back", "waiting", "problem")
    hint = "no channels: add [alerts.slack.<name>], [alerts.email.<name>] or [alerts.webhook.<name>]"
    show_rows(_shown(context)["channels"], columns=columns, as_json=as_json, empty=hint)


@app.command("sent", epilog=examples("alerts sent", "alerts sent --json"))
def list_sent(context: typer.Context, *, as_json: Json = False) -> None:
    """Show what became of the last messages, the newest first."""
    columns = ("at", "channel", "outcome", "title", "tries", "problem")
    show_rows(_shown(context)["sent"], columns=columns, as_json=as_json, empty="nothing was sent")


@app.command("silences", epilog=examples("alerts silences", "alerts silences --json"))
def list_silences(context: typer.Context, *, as_json: Json = False) -> None:
    """Show what nobody is told of at present."""
    columns = ("id", "rule", "key", "until", "by", "comment")
    show_rows(_shown(context)["silences"], columns=columns, as_json=as_json, empty="nothing is silenced")


@app.command(
    "silence",
    epilog=examples(
        "alerts silence run_failed --key deploy --for 2h --comment 'we know'", "alerts silence '*' --for 30m"
    ),
)
def silence(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule's name, with * for any text.")],
    *,
    key: Annotated[str, typer.Option(help="What alerts are about, with * for any text.")] = "*",
    length: Annotated[str, typer.Option("--for", metavar="DURATION", help="Like 90m, 4h or 2d.")] = "1h",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: Json = False,
) -> None:
    """Tell nobody of some alerts for a while; they are evaluated and shown as ever."""
    document = {"rule": rule, "key": key, "seconds": seconds(length), "comment": comment}
    show_record(ask(context, lambda remote: remote.silence_alerts(document)), as_json=as_json)


@app.command("unsilence", epilog=examples("alerts unsilence 3f09c2a417be"))
def unsilence(
    context: typer.Context,
    silence: Annotated[str, typer.Argument(metavar="ID", help="The silence's id.")],
    *,
    as_json: Json = False,
) -> None:
    """End a silence; what still fires is told."""
    show_record(ask(context, lambda remote: remote.end_silence(silence)), as_json=as_json)


@app.command("test", epilog=examples("alerts test ops", "alerts test ops --json"))
def try_out(
    context: typer.Context,
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel's name in the settings.")],
    *,
    as_json: Json = False,
) -> None:
    """Have the engine send a test to a channel, and show what came of it.

    Exits with 1 if it isn't taken. The engine sends it, so that its secrets and its network are tried.
    """
    row = ask(context, lambda remote: remote.test_channel(channel))
    show_record(row, as_json=as_json)
    if not row["taken"]:
        raise typer.Exit(1)


def _shown(context: typer.Context) -> Row:
    """Return how alerts stand, with a word about it where nobody evaluates them."""
    shown = ask(context, lambda remote: remote.alerts())
    if not shown["evaluated"]:
        since = f" since {shown['at']}" if shown["at"] else ""
        complain(ConflictError(f"nobody evaluates alerts{since}", hint="run an engine with the role alerts"))
    return shown
