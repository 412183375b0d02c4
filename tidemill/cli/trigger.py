"""`tidemill trigger`: starts a run of a task, and waits for its end where that is wanted."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from tidemill.cli.asking import ask
from tidemill.cli.options import examples
from tidemill.cli.output import Json, show_record
from tidemill.cli.remote import Remote, Row
from tidemill.kernel.errors import PayloadError

app = typer.Typer()
ENDED: Final = frozenset({"completed", "failed", "cancelled", "expired", "timed_out", "crashed", "closed"})
_FIRST_PAUSE: Final = 0.05
_PAUSE_GROWTH: Final = 1.5
_LONGEST_PAUSE: Final = 2.0


@app.command(
    "trigger",
    epilog=examples(
        "trigger report",
        'trigger resize --payload \'{"image": "a.png"}\' --wait',
        "trigger resize --payload @input.json --key order-17 --delay 10m",
        "trigger report --payload - < input.json",
    ),
)
def trigger(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's id or an alias.")],
    *,
    payload: Annotated[
        str, typer.Option(metavar="JSON|@FILE|-", help="What the task is given; - reads standard input.")
    ] = "null",
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: the same key gives the same run for a day.")
    ] = None,
    delay: Annotated[str | None, typer.Option(help="Start later: 90s, 10m, 24h.")] = None,
    ttl: Annotated[str | None, typer.Option(help="Expire if it hasn't started by then.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A word kept with the run; may be repeated.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; 1 unless completed.")] = False,
    as_json: Json = False,
) -> None:
    """Start a run of a task and print its id."""
    given = {"idempotency_key": key, "delay": delay, "ttl": ttl, "tags": tag or None}
    options = {name: value for name, value in given.items() if value is not None}
    body = read_payload(payload)

    async def start(remote: Remote) -> Row:
        started = await remote.start(task, body, options)
        return await _ended(remote, started["run_id"]) if wait else started

    row = ask(context, start)
    show_record(row if as_json else _brief(row), as_json=as_json)
    if wait and row["status"] != "completed":
        raise typer.Exit(1)


def read_payload(text: str) -> bytes:
    """Return a payload's JSON: the text itself, of a file (`@FILE`), or of standard input (`-`).

    Raises:
        PayloadError: the file can't be read, or it is no JSON.
    """
    try:
        raw = _raw(text)
        orjson.loads(raw)
    except OSError as error:
        raise PayloadError(f"the payload can't be read: {error}", hint="write @FILE, - or JSON") from error
    except orjson.JSONDecodeError as error:
        raise PayloadError(
            f"the payload is no JSON: {error}",
            hint="quote it for the shell: '{\"n\": 1}', and text too: '\"text\"'",
        ) from error
    return raw


def _raw(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    return Path(text[1:]).read_bytes() if text.startswith("@") else text.encode("utf-8", "surrogateescape")


async def _ended(remote: Remote, run: str) -> Row:
    """Ask until the run has ended, less and less often."""
    pause = _FIRST_PAUSE
    while (row := await remote.run(run))["status"] not in ENDED:
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)
    return row


def _brief(row: Row) -> dict[str, Any]:
    errors = row.get("errors") or []
    shown = {name: row.get(name) for name in ("run_id", "status", "result")}
    return shown | {"error": f"{errors[-1]['type']}: {errors[-1]['message']}" if errors else None}
