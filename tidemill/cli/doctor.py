"""`tidemill doctor`: looks at everything that has to be right, and says what to do where it isn't."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Collection, Iterable
from typing import Annotated, Final

import typer
from rich.text import Text

from tidemill.cli.finding import Finding, problem
from tidemill.cli.invocation import Invocation, invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.options import examples
from tidemill.cli.output import Json, printable, say, show_json
from tidemill.kernel.errors import NotFoundError, SettingsError

app = typer.Typer()
SUBJECTS: Final = (
    "python", "nats-py", "packages", "settings", "secrets", "secret-key", "sources", "control", "durability",
    "nats-server", "disk", "spool", "broker", "topology", "clock", "room", "duplicates", "router", "tickets",
    "schedules", "paused", "workers", "encryption", "key",
)  # fmt: skip
"""What findings can be about, from the inside to the outside."""
_FOUNDATIONS: Final = ("settings", "broker", "topology")
"""Where something is wrong with one of these, other checks can't be made."""
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command(
    "doctor",
    epilog=examples(
        "doctor",
        "--config prod.toml doctor --json",
        "--url http://mill:8081 doctor",
        "doctor --check broker    # the health check of a container",
    ),
)
def doctor(
    context: typer.Context,
    *,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="NAME", help="Look at this alone; may stand several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this installation: versions, settings, secrets, broker, streams, clock, work that nobody does.

    Each line is ok, a warning or a problem, with what to do about it. Exits with 1 if there is a problem.
    With --url the control listener there is asked instead of the broker. The second column names a check
    for --check.
    """
    only = _known(check or ())
    findings = asyncio.run(examine(invocation(context), only))
    if only:
        findings = select(findings, only)
    if as_json:
        show_json([finding.facts() for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _known(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of checks, without repetition.

    Raises:
        NotFoundError: there is no such check.
    """
    for name in names:
        if name not in SUBJECTS:
            near = difflib.get_close_matches(name, SUBJECTS, n=1)
            told = f"did you mean {near[0]}? " if near else ""
            raise NotFoundError(f"there is no check {name!r}", hint=f"{told}there are {', '.join(SUBJECTS)}")
    return tuple(dict.fromkeys(names))


async def examine(call: Invocation, only: Collection[str] = ()) -> list[Finding]:
    """Make all checks that can be made, from the inside to the outside.

    Of the checks that ask the broker those in `only` alone are made, where it names some.
    """
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
    elif not only or set(only) & {"broker", "topology", "encryption", *checks_broker.CHECKS}:
        findings += await checks_broker.broker(settings, only)
    return findings


def select(findings: Iterable[Finding], only: Collection[str]) -> list[Finding]:
    """Return the findings about some subjects, and what kept the checks of the others from being made.

    A subject about which there is nothing at all is a problem: whoever asks for it relies on it.
    """
    found = list(findings)
    unanswered = [name for name in only if all(finding.subject != name for finding in found)]
    reasons = _FOUNDATIONS if unanswered else ()
    kept = [
        finding
        for finding in found
        if finding.subject in only or (finding.subject in reasons and finding.level != "ok")
    ]
    hint = "'tidemill doctor' alone says what can be looked at here"
    return kept + [problem(name, "wasn't looked at, see above or the settings", hint) for name in unanswered]


def _show(finding: Finding) -> None:
    text = Text.assemble(
        (f"{finding.level:<8}", _STYLES[finding.level]),
        (f"{finding.subject:<12} ", "bold"),
        printable(finding.what),
    )
    if finding.hint:
        text.append(f"\n{'':<21}{printable(finding.hint)}", style="dim")
    say(text)
