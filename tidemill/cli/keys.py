"""`tidemill keys`: API keys of the control listener, and data keys that encrypt secrets on the broker."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_record
from tidemill.cli.working import working
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.settings.keys import create_key, find_key, hash_key

app = typer.Typer(
    name="keys", help="Make and check API keys of the control listener, and data keys.", no_args_is_help=True
)


@app.command("create", epilog=examples("keys create ci", "keys create prometheus --role viewer"))
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it; shown in logs.")],
    *,
    role: Annotated[
        Literal["admin", "operator", "approver", "viewer"],
        typer.Option(help="viewers look, operators change what runs, approvers decide, admins do all."),
    ] = "admin",
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown once; its hash goes into the settings, nothing is written."""
    key = create_key()
    hashed = hash_key(key)
    if as_json:
        show_json({"name": name, "role": role, "key": key, "hash": hashed})
        return
    say(f"key: {key}\n\nadd its hash to tidemill.toml:\n")
    say(f'[[control.keys]]\nname = "{_toml(name)}"\nhash = "{hashed}"\nrole = "{role}"')
    say(f"\nuse it with: TIDEMILL_CLIENT__KEY={key} tidemill --url http://... runs list")


@app.command("check", epilog=examples("keys check < key.txt", "keys check tm_..."))
def check(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="The key; asked for or read from standard input by default."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Say whose key it is by the settings; exit with 1 if nobody's."""
    presented = key if key is not None else _read_key()
    known = find_key(presented.strip(), invocation(context).settings().control.keys)
    if known is None:
        raise NotFoundError(
            "no key of control.keys has this hash",
            hint=f'the settings would need hash = "{hash_key(presented.strip())}"',
        )
    show_record({"name": known.name, "role": known.role, "hash": known.hash}, as_json=as_json)


@app.command("secret", epilog=examples("keys secret > secret.key"))
def make_secret_key(*, as_json: Json = False) -> None:
    """Print a fresh data key for gateway.secret_key, which encrypts secrets on the broker."""
    from tidemill.kernel.services.data_keys import new_key  # noqa: PLC0415 - the ciphers delay --help

    key = new_key()
    show_json({"key": key}) if as_json else say(key)


@app.command("rewrap", epilog=examples("keys rewrap", "--url http://mill:8081 keys rewrap --json"))
def rewrap(context: typer.Context, *, as_json: Json = False) -> None:
    """Encrypt all secrets on the broker anew with the first key; exit with 1 where one can't be read."""
    with working("encrypting secrets anew"):
        row = ask(context, lambda remote: remote.rewrap())
    show_record(row, as_json=as_json)
    if row["unreadable"]:
        raise typer.Exit(1)


def _read_key() -> str:
    if sys.stdin.isatty():
        asked: str = typer.prompt("key", hide_input=True)
        return asked
    return sys.stdin.readline()


def _toml(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
