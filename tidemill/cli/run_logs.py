"""`tidemill runs logs`: what a run has logged and printed, at once or as it comes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.output import Json, printable
from tidemill.http_transport import ENDED
from tidemill.kernel.errors import NotFoundError

if TYPE_CHECKING:
    from tidemill.cli.remote import Remote

_PAUSE: Final = 0.5
_MESSAGES: Final = 200


def show_logs(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    step: Annotated[str | None, typer.Option(metavar="KEY", help="Lines of this step only.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a run's handler has logged and printed; with --json one object a line."""
    ask(context, lambda remote: _tell(remote, run, follow=follow, step=step, as_json=as_json))


async def _tell(remote: Remote, run: str, *, follow: bool, step: str | None, as_json: bool) -> None:
    after, ended = 0, not follow
    while True:
        page = await remote.run_logs(run, after=after, limit=_MESSAGES)
        for line in page["logs"]:
            if step in (None, line["step"]):
                text = orjson.dumps(line).decode() if as_json else _text(line)
                sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        after = page["after"]
        if page["more"]:
            continue
        if ended and not page["logs"]:
            return
        if not follow:
            return
        ended = await _has_ended(remote, run)
        await asyncio.sleep(_PAUSE)


async def _has_ended(remote: Remote, run: str) -> bool:
    try:
        return str((await remote.run(run))["status"]) in {*ENDED, "closed"}
    except NotFoundError:
        return True


def _text(line: dict[str, Any]) -> str:
    place = f" [{line['step']}]" if line["step"] else ""
    head = f"{line['at']} {line['level']:<7} #{line['attempt']} {line['logger']}{place}"
    return printable(f"{head}: {line['text']}").replace("\n", "\n    ")
