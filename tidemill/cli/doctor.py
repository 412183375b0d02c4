"""`tidemill doctor`: looks at everything that has to be right, and says what to do where it isn't."""

from __future__ import annotations

import asyncio

import typer
from rich.text import Text

from tidemill.cli.finding import Finding, problem
from tidemill.cli.invocation import Invocation, invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.options import examples
from tidemill.cli.output import Json, printable, say, show_json
from tidemill.kernel.errors import SettingsError

app = typer.Typer()
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command(
    "doctor", epilog=examples("doctor", "--config prod.toml doctor --json", "--url http://mill:8081 doctor")
)
def doctor(context: typer.Context, *, as_json: Json = False) -> None:
    """Check this installation: versions, settings, secrets, broker, streams, clock, work that nobody does.

    Each line is ok, a warning or a problem, with what to do about it. Exits with 1 if there is a problem.
    With --url the control listener there is asked instead of the broker.
    """
    findings = asyncio.run(examine(invocation(context)))
    if as_json:
        show_json([finding.facts() for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


async def examine(call: Invocation) -> list[Finding]:
    """Make all checks that can be made, from the inside to the outside."""
    from tidemill.cli import checks_broker, checks_control, checks_local  # noqa: PLC0415 - they delay --help

    findings = list(checks_local.installation())
    try:
        settings = call.settings()
    except SettingsError as error:
        return [*findings, problem("settings", error.sentence, error.hint)]
    set_up_logs(settings.log, quiet=True)
    findings += checks_local.configuration(settings)
    if settings.client.url is not None:
        findings += await checks_control.control(settings, settings.client.url)
    else:
        findings += await checks_broker.broker(settings)
    return findings


def _show(finding: Finding) -> None:
    text = Text.assemble(
        (f"{finding.level:<8}", _STYLES[finding.level]),
        (f"{finding.subject:<12} ", "bold"),
        printable(finding.what),
    )
    if finding.hint:
        text.append(f"\n{'':<21}{printable(finding.hint)}", style="dim")
    say(text)
