"""`tidemill sources`: the configured senders, as the gateway will treat them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.invocation import invocation
from tidemill.cli.options import examples
from tidemill.cli.output import Json, say, show_json, show_record, show_rows
from tidemill.kernel.errors import BrokerError, ControlError, NotFoundError
from tidemill.kernel.settings.source_facts import secret_facts, webhook_address

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings

app = typer.Typer(name="sources", help="Look at the configured senders of webhooks.", no_args_is_help=True)


_PRESET_COLUMNS = ("name", "scheme", "covers", "handshake", "retries", "verification")


@app.command(
    "list",
    epilog=examples("sources list", "sources list --presets", "--config prod.toml sources list --json"),
)
def list_sources(
    context: typer.Context,
    *,
    presets: Annotated[
        bool, typer.Option("--presets", help="Show the providers that can be chosen, with what each does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the sources of the settings, with the URL that each provider posts to."""
    if presets:
        from tidemill.cli.presets import preset_rows  # noqa: PLC0415 - the recipes' models delay --help

        show_rows(preset_rows(), columns=_PRESET_COLUMNS, as_json=as_json)
        return
    settings = invocation(context).settings()
    rows = [_summary(settings, name) for name in sorted(settings.sources)]
    columns = ("name", "preset", "url", "secrets", "policy")
    hint = "no sources: add [sources.<name>] to the settings, or start with 'tidemill init'"
    show_rows(rows, columns=columns, as_json=as_json, empty=hint)


@app.command("show", epilog=examples("sources show github", "sources show twilio    # how to set it up"))
def show_source(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Its name in the settings, or a preset's.")],
    *,
    as_json: Json = False,
) -> None:
    """Show a source: secrets, recipe, types of samples; or how to set up a preset that isn't used yet."""
    from gateway.recipes.samples import sample_types  # noqa: PLC0415 - the recipes' models delay --help
    from gateway.sources import recipe_of, reply_timeout  # noqa: PLC0415 - the same
    from tidemill.cli.presets import preset_help  # noqa: PLC0415 - the same

    settings = invocation(context).settings()
    if source not in settings.sources and (shown := preset_help(source)) is not None:
        show_json(shown.row) if as_json else say(shown.text)
        return
    found = settings.source(source)
    recipe = recipe_of(source, found)
    row = _summary(settings, source) | {
        "secrets": [secret_facts(settings, secret) for secret in found.secrets],
        "max_body": found.max_body or max(settings.gateway.max_body, recipe.provider.body_limit or 0),
        "tolerance": found.tolerance,
        "allow_unsigned": found.allow_unsigned,
        "reply_timeout": reply_timeout(found, recipe),
        "handshakes": [handshake.name for handshake in recipe.handshake],
        "samples": sample_types(recipe.name),
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
    }
    if any(handshake.learn for handshake in recipe.handshake):
        row["learned"] = _learned(context, source)
    if as_json:
        show_json(row)
        return
    show_record({name: value for name, value in row.items() if name != "recipe"}, as_json=False)
    say("\nrecipe")
    show_json(row["recipe"])


@app.command("forget", epilog=examples("sources forget notion"))
def forget(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Its name in the settings.")],
    *,
    as_json: Json = False,
) -> None:
    """Forget the secret that a source has learned from its sender, so that the next one is learned."""
    row = ask(context, lambda remote: remote.forget_secret(source))
    show_record(row, as_json=as_json)


def _learned(context: typer.Context, source: str) -> Any:
    """Return the secret that a source's sender brought: its operator has to enter it there, or to keep it."""
    try:
        return ask(context, lambda remote: remote.learned_secret(source))
    except NotFoundError:
        return "nothing yet"
    except (BrokerError, ControlError) as error:
        return f"unknown: {error.sentence}"


def _summary(settings: Settings, name: str) -> dict[str, Any]:
    source = settings.sources[name]
    return {
        "name": name,
        "preset": source.preset or "(recipe)",
        "url": webhook_address(settings, name),
        "secrets": ", ".join(_told(secret_facts(settings, secret)) for secret in source.secrets) or "none",
        "policy": source.policy,
    }


def _told(secret: dict[str, Any]) -> str:
    state: str = secret["state"]
    return f"{secret['value']} ({state.partition(':')[0]})"
