"""The configured sources, ready to judge requests."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.intake import Intake
from gateway.keys.store import KeyStore
from gateway.limits import Limits
from gateway.recipes.catalogue import names_address, wants_secrets
from gateway.recipes.presets import preset
from gateway.recipes.published import KeyAccess, needs_address
from gateway.recipes.recipe import Recipe, parse_recipe
from gateway.schemas import BUNDLED, SchemaStore
from gateway.shaping import shaper_of
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.services.learned import LearnedSecrets
    from tidemill.kernel.settings.live import LiveSettings
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.secrets import Secret
    from tidemill.kernel.settings.sections import SourceSettings

BY_BODY: Final = ("body",)
BODY_WINDOW: Final = 60.0
"""Seconds: two equal bodies that are further apart are two events."""

REPLY_SECONDS: Final = 2.5
"""How long a sender waits for a run's answer whose patience isn't known."""
OF_PATIENCE: Final = 0.8
"""What part of a provider's patience is waited; the rest is for the way there and back."""
LONGEST_REPLY: Final = 10.0


def schema_store(settings: Settings) -> SchemaStore:
    """Return the schemas of the product and of the settings' directories.

    Raises:
        SettingsError: a directory isn't there.
    """
    return SchemaStore((BUNDLED, *settings.schemas.directories))


def build_intakes(
    settings: Settings,
    live: LiveSettings,
    learned: LearnedSecrets | None = None,
    schemas: SchemaStore | None = None,
    keys: KeyStore | None = None,
) -> dict[str, Intake]:
    """Return the intake of every configured source; secrets are asked for at each request.

    Args:
        settings: which sources there are.
        live: their secrets.
        learned: the secrets that senders brought themselves, for recipes that learn.
        schemas: what events are held against; by default what `schema_store` returns.
        keys: where published keys are kept; by default a store of their own.

    Raises:
        SettingsError: a preset or recipe is wrong, or a schema is broken.
    """
    schemas, keys = schemas or schema_store(settings), keys or KeyStore()
    intakes = {}
    for name, source in settings.sources.items():
        recipe = _adapted(recipe_of(name, source), name, source)
        intakes[name] = Intake(
            name,
            recipe,
            secrets=_secrets(name, source, recipe, live, learned),
            learn=source.learn,
            tenants=source.tenants,
            by_body=source.deduplicate == BY_BODY,
            limits=Limits(source.networks, source.rate, source.client_rate, source.concurrency),
            access=access_of(name, recipe, source, keys),
            shaper=shaper_of(source.prune, source.rename, where=f"sources.{name}"),
            window=_window(name, source, settings),
            reply_timeout=reply_timeout(source, recipe),
            verify_tokens=partial(live.verify_tokens, name),
            schemas=schemas,
            public_url=settings.gateway.public_url,
            policy=source.policy,
            allow_unsigned=source.allow_unsigned,
            tolerance=source.tolerance,
            max_body=source.max_body or max(settings.gateway.max_body, recipe.provider.body_limit or 0),
        )
    return intakes


def _adapted(recipe: Recipe, name: str, source: SourceSettings) -> Recipe:
    """Return a recipe with what the source's settings say otherwise."""
    answers = {"answer": source.answer, "refusal": source.refusal}
    given = {key: answer for key, answer in answers.items() if answer is not None}
    if given:
        recipe = parse_recipe(_document(recipe) | given, where=f"sources.{name}")
    if source.audience is not None:
        recipe = _for_audience(recipe, name, source.audience)
    if not source.deduplicate:
        return recipe
    names = [] if source.deduplicate == BY_BODY else list(source.deduplicate)
    event = recipe.event.model_dump(mode="json", exclude_unset=True) | {"id": names}
    return parse_recipe(_document(recipe) | {"event": event}, where=f"sources.{name}.deduplicate: recipe")


def _for_audience(recipe: Recipe, name: str, audience: str) -> Recipe:
    """Return a recipe whose tokens must be for another audience.

    Raises:
        SettingsError: the recipe verifies no tokens.
    """
    document = _document(recipe)
    tokens = [proof for proof in document.get("verify", ()) if proof.get("scheme") == "jwt"]
    if not tokens:
        raise SettingsError(
            f"sources.{name}.audience: {recipe.name!r} verifies no tokens", hint="leave it out"
        )
    for proof in tokens:
        proof["audience"] = audience
    return parse_recipe(document, where=f"sources.{name}.audience: recipe")


def access_of(name: str, recipe: Recipe, source: SourceSettings, keys: KeyStore) -> KeyAccess:
    """Return how a source gets at published keys.

    Raises:
        SettingsError: its recipe doesn't say where they are, and neither do its settings; or both do.
    """
    needs = [needs_address(proof) for proof in recipe.verify]
    if source.keys is not None and True not in needs:
        raise SettingsError(
            f"sources.{name}.keys: the keys of {recipe.name!r} aren't fetched from an address of your own",
            hint="leave it out; a recipe of your own says with `keys = {}` that a source names it",
        )
    if not (source.secrets or source.allow_unsigned or source.learn or source.tenants):
        _check_fetched(name, recipe, source)
    return KeyAccess(keys, source.keys)


def _check_fetched(name: str, recipe: Recipe, source: SourceSettings) -> None:
    """Refuse a source without secrets whose keys aren't fetched either."""
    if wants_secrets(recipe):
        raise SettingsError(
            f"sources.{name}.secrets is missing: nothing could be verified",
            hint="set it, or accept that with allow_unsigned = true",
        )
    if source.keys is None and names_address(recipe):
        raise SettingsError(
            f"sources.{name}.keys is missing: nothing could be verified",
            hint="set it to the address of the sender's key set (https://…/jwks.json), or set secrets",
        )


def _document(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude_unset=True)


def reply_timeout(source: SourceSettings, recipe: Recipe) -> float | None:
    """Return for how many seconds senders wait for what a run answers, None where they don't."""
    if source.reply is None:
        return None
    if source.reply_timeout is not None:
        return source.reply_timeout
    patience = recipe.provider.acknowledge_within
    return REPLY_SECONDS if patience is None else min(LONGEST_REPLY, OF_PATIENCE * patience)


def _window(name: str, source: SourceSettings, settings: Settings) -> float | None:
    """Return for how many seconds a source recognises deliveries, None for as long as the broker does."""
    window, longest = source.duplicate_window, settings.events.duplicate_window
    if window is None:
        return min(BODY_WINDOW, longest) if source.deduplicate == BY_BODY else None
    if window > longest:
        raise SettingsError(
            f"sources.{name}.duplicate_window is longer than events.duplicate_window",
            hint="a source's window can only be shorter than that of all: raise events.duplicate_window",
        )
    return window if window < longest else None


def _secrets(
    name: str, source: SourceSettings, recipe: Recipe, live: LiveSettings, learned: LearnedSecrets | None
) -> Callable[[], tuple[Secret, ...]]:
    configured = partial(live.secrets, name)
    if not source.learn:
        return configured
    if not any(handshake.learn for handshake in recipe.handshake):
        raise SettingsError(
            f"sources.{name}.learn: senders of {recipe.name!r} bring no secret",
            hint="set its secrets instead",
        )
    return configured if learned is None else lambda: configured() + learned.secrets(name)


def tenant_recipes(settings: Settings) -> dict[str, Recipe]:
    """Return the recipes of the sources whose tenants have secrets of their own.

    Raises:
        SettingsError: as for `recipe_of`.
    """
    return {name: recipe_of(name, source) for name, source in settings.sources.items() if source.tenants}


def recipe_of(name: str, source: SourceSettings) -> Recipe:
    """Return a source's recipe: its preset's, or its own.

    Raises:
        SettingsError: there is no such preset, or the recipe is wrong.
    """
    if source.preset is not None:
        return preset(source.preset)
    return parse_recipe(source.recipe or {}, name=name, where=f"sources.{name}.recipe")
