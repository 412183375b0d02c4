"""`tidemill send`: signs and posts a sample exactly as its provider would."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import httpx
import typer

from tidemill.cli.given_secret import given_secret
from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json
from tidemill.kernel.errors import ControlError, PayloadError, SettingsError

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings

app = typer.Typer()
_TIMEOUT = 30.0


@app.command(
    "send",
    epilog=examples(
        "send github push",
        "send github issues.opened --id 0b989ba4-242f-11e5-81e1-c7b6966d2516",
        "send stripe invoice.paid --to https://hooks.example.com",
        "send acme order.created --data order.json",
        "send github push --tamper    # is refused with 401",
    ),
)
def send(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A source of the settings.")],
    event_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="The provider's type, like push or issues.opened.")
    ],
    *,
    data: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Post these bytes as they are; - is standard input.")
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The delivery's id; fresh by default.")] = None,
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="Public listener; that of the settings by default.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Post to /webhooks/SOURCE/TENANT.")] = None,
    secret: Annotated[
        str | None, typer.Option(metavar="WHERE", help="Sign with this one: env:NAME, file:PATH or -.")
    ] = None,
    tamper: Annotated[bool, typer.Option("--tamper", help="Change one byte after signing.")] = False,
    as_json: Json = False,
) -> None:
    """Sign a sample with the source's secret and post it; exit with 1 unless the answer is 2xx."""
    from gateway.posting import build, tampered  # noqa: PLC0415 - the recipes' models delay --help

    settings = invocation(context).settings()
    url = webhook_url(settings, source, to, tenant)
    body = _read(data) if data is not None else None
    given = given_secret(context, secret) if secret is not None else None
    posting = build(settings, source, event_type, body=body, event_id=event_id, url=url, secret=given)
    sent = tampered(posting.body) if tamper else posting.body
    response = _post(posting.url, sent, posting.headers)
    document = document_of(response)
    if as_json:
        sent_as = {"url": url, "sent_id": posting.event_id, "status_code": response.status_code}
        show_json(sent_as | {"answer": document})
    else:
        say(told(response, document))
    if not response.is_success:
        raise typer.Exit(1)


def webhook_url(settings: Settings, source: str, to: str | None, tenant: str | None) -> str:
    """Return where deliveries of a source are posted to.

    Raises:
        SettingsError: the settings don't say where the public listener is.
    """
    listen = settings.gateway.listen
    if to is None and listen.port == 0:
        raise SettingsError("gateway.listen has no fixed port", hint="say where to post with --to URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - it isn't bound here
    base = to or f"http://{type(listen)(host, listen.port)}"
    return "/".join([base.rstrip("/"), "webhooks", source, *([quote(tenant, safe="")] if tenant else [])])


def _read(data: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if data == "-" else Path(data).read_bytes()
    except OSError as error:
        raise PayloadError(f"the data can't be read: {error}", hint="name a file, or write -") from error


def _post(url: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    try:
        return httpx.post(url, content=body, headers=headers, timeout=_TIMEOUT, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ControlError(
            f"POST {url} failed: {str(error) or type(error).__name__}",
            hint="is the gateway running there? --to names another public listener",
        ) from error


def document_of(response: httpx.Response) -> Any:
    """Return an answer's JSON, else its text."""
    try:
        return response.json()
    except ValueError:
        return response.text


def told(response: httpx.Response, document: Any) -> str:
    """Return the answer in one line: status, what became of it, its event's id and type."""
    if not isinstance(document, dict):
        return f"{response.status_code} {document}"
    names = ("status", "type", "id") if response.is_success else ("detail", "hint")
    told = [str(document[name]) for name in names if document.get(name)]
    return " ".join([str(response.status_code), *told])
