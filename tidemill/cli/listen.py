"""`tidemill listen`: brings deliveries of a remote gateway to a local one, without a tunnel."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from tidemill.cli.invocation import invocation
from tidemill.cli.logs import set_up_logs
from tidemill.cli.options import examples
from tidemill.cli.output import printable, say
from tidemill.cli.send import document_of, told
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    import httpx

    from tidemill.cli.listening import Delivery, Listening
    from tidemill.kernel.settings.model import Settings

app = typer.Typer()


@app.command(
    "listen",
    epilog=examples(
        "--key env:MILL_KEY listen --from https://mill.example.com:8081 github",
        "listen --from https://mill.example.com:8081 github --type 'github.issues.*' --since 1h",
        "listen --from https://mill.example.com:8081 'shop/*' --as shop-test --after 4711",
    ),
)
def listen(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The remote source; with /TENANT, or /* for all tenants.")
    ],
    *,
    remote: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="URL", help="Control listener of the remote gateway; --url by default."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Local public listener; that of the settings by default."),
    ] = None,
    local: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The local source, where its name differs.")
    ] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", metavar="PATTERN", help="Only such types, like github.issues.*")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Begin there: 90m ago, or 2026-11-22T12:00:00Z.")
    ] = None,
    after: Annotated[
        int | None, typer.Option(min=0, metavar="SEQ", help="Begin behind this number, to go on.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Bring deliveries of a remote gateway to the local one: original bodies and headers, signed anew."""
    settings = invocation(context).settings()
    set_up_logs(settings.log, quiet=True)
    wanted: dict[str, str | int] = {"source": source}
    given: dict[str, str | int | None] = {"type": event_type, "since": since, "after": after}
    wanted |= {name: value for name, value in given.items() if value is not None}
    listening = _listening(settings, wanted, remote, local or source.partition("/")[0], to)
    listening.limit = limit
    try:
        asyncio.run(_follow(listening, as_json=as_json))
    finally:
        if listening.position is not None and not as_json:
            say(f"go on with --after {listening.position}")


def _listening(
    settings: Settings, wanted: dict[str, str | int], remote: str | None, source: str, to: str | None
) -> Listening:
    from tidemill.cli.feed_http import HttpFeed  # noqa: PLC0415 - the HTTP client delays --help
    from tidemill.cli.listening import Listening, LocalGateway  # noqa: PLC0415 - the recipes do too

    url = remote or settings.client.url
    if url is None:
        raise SettingsError("nobody says whom to listen to", hint="name its control listener with --from URL")
    key = settings.client.key
    feed = HttpFeed(url, key.resolve(settings.inputs.environ).reveal() if key else None)
    return Listening(feed, LocalGateway(settings, source, to), wanted, _tell)


async def _follow(listening: Listening, *, as_json: bool) -> None:
    async for delivery, response in listening.deliveries():
        if as_json:
            sys.stdout.write(_json_line(delivery, response))
            sys.stdout.flush()
        else:
            say(_line(delivery, response))


def _line(delivery: Delivery, response: httpx.Response | None) -> str:
    """Return one delivery in one line: when, its number, what it is, and what the local gateway said."""
    moment = datetime.fromisoformat(str(delivery["received_at"])).astimezone().strftime("%H:%M:%S")
    answer = "not posted" if response is None else told(response, document_of(response))
    return f"{moment}  {delivery['seq']}  {delivery['type']}  {delivery['id']}  ->  {answer}"


def _json_line(delivery: Delivery, response: httpx.Response | None) -> str:
    known = ("seq", "id", "type", "source", "tenant", "received_at", "replayof")
    document: dict[str, Any] = {name: delivery.get(name) for name in known}
    document["status_code"] = None if response is None else response.status_code
    document["answer"] = None if response is None else document_of(response)
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode()


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{printable(sentence)}\n")
    sys.stderr.flush()
