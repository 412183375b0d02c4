"""`tidemill tenants`: secrets of a source's tenants, changed while gateways run."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from tidemill.cli.asking import ask
from tidemill.cli.given_secret import given_secret
from tidemill.cli.options import Limit, examples
from tidemill.cli.output import Json, show_record, show_rows
from tidemill.kernel.errors import PayloadError

app = typer.Typer(
    name="tenants", help="Look at the tenants of a source, and change their secrets.", no_args_is_help=True
)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Its name in the settings.")]
Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The name in the path of its webhooks.")]
Given = Annotated[
    str | None,
    typer.Option(
        "--secret",
        metavar="WHERE",
        help="env:NAME, file:PATH or - for standard input. By default a fresh one is made and shown, once.",
    ),
]
_COLUMNS: Final = ("id", "state", "created", "until", "key")


@app.command("list", epilog=examples("tenants list shop", "tenants list shop --after acme --json"))
def list_tenants(
    context: typer.Context,
    source: Source,
    *,
    after: Annotated[str, typer.Option(metavar="TENANT", help="Only those behind this name.")] = "",
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """Show the tenants of a source by name, with how many secrets of each count."""
    rows = ask(context, lambda remote: remote.tenants(source, after=after, limit=limit))
    hint = f"no tenants: 'tidemill tenants add {source} TENANT' gives one a secret"
    show_rows(rows, columns=("tenant", "active", "until"), as_json=as_json, empty=hint)


@app.command("show", epilog=examples("tenants show shop acme"))
def show_secrets(context: typer.Context, source: Source, tenant: Tenant, *, as_json: Json = False) -> None:
    """Show a tenant's secrets: when they were made and until when they count, never what they are."""
    rows = ask(context, lambda remote: remote.tenant_secrets(source, tenant))
    show_rows(rows, columns=_COLUMNS, as_json=as_json)


@app.command(
    "add", epilog=examples("tenants add shop acme", "tenants add shop acme --secret file:acme.secret")
)
def add(  # noqa: PLR0913 - its options
    context: typer.Context,
    source: Source,
    tenant: Tenant,
    *,
    secret: Given = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it ends, like 2026-12-01T00:00:00Z.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a tenant a secret; the first one makes the tenant. Running gateways take it within a second."""
    order = _order(context, secret=secret, until=until)
    show_record(ask(context, lambda remote: remote.add_tenant_secret(source, tenant, order)), as_json=as_json)


@app.command(
    "rotate", epilog=examples("tenants rotate shop acme", "tenants rotate shop acme --overlap 1h --secret -")
)
def rotate(  # noqa: PLR0913 - its options
    context: typer.Context,
    source: Source,
    tenant: Tenant,
    *,
    secret: Given = None,
    overlap: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long the others count on; 24h by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a tenant a new secret, and let those that it has count on for a while."""
    order = _order(context, secret=secret, overlap=overlap)
    show_record(
        ask(context, lambda remote: remote.rotate_tenant_secret(source, tenant, order)), as_json=as_json
    )


@app.command(
    "revoke", epilog=examples("tenants revoke shop acme sec_0011...", "tenants revoke shop acme --all")
)
def revoke(  # noqa: PLR0913 - its options
    context: typer.Context,
    source: Source,
    tenant: Tenant,
    secret: Annotated[str | None, typer.Argument(metavar="ID", help="The secret's id.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All of them: the tenant is gone then.")] = False,
    as_json: Json = False,
) -> None:
    """Take a secret away from a tenant at once; deliveries signed with it are refused within a second."""
    if (secret is None) != everything:
        raise PayloadError(
            "name a secret, or all with --all", hint=f"tidemill tenants show {source} {tenant}"
        )
    row = ask(context, lambda remote: remote.revoke_tenant_secret(source, tenant, secret))
    show_record(row, as_json=as_json)


def _order(context: typer.Context, *, secret: str | None, **rest: str | None) -> dict[str, Any]:
    """Return what is asked for, with the secret from where it stands: never from the command line."""
    order: dict[str, Any] = {name: value for name, value in rest.items() if value is not None}
    if secret is not None:
        order["secret"] = given_secret(context, secret).reveal()
    return order
