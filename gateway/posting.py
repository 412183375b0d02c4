"""One delivery as a provider would send it: the recipe of the source run backwards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.recipes.samples import body_of, find_sample, new_id, sample_types
from gateway.recipes.sign import sign_request
from gateway.schemas import BUNDLED
from gateway.sources import recipe_of
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from gateway.recipes.recipe import Recipe
    from tidemill.kernel.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Posting:
    """A signed delivery."""

    event_id: str
    body: bytes
    headers: dict[str, str]
    url: str = ""


def build(  # noqa: PLR0913 - what makes a delivery, each by name
    settings: Settings,
    source: str,
    event_type: str,
    *,
    body: bytes | None = None,
    document: Any = None,
    event_id: str | None = None,
    url: str = "",
    secret: Secret | None = None,
) -> Posting:
    """Build a delivery of a configured source.

    Args:
        settings: where the source stands.
        source: its name.
        event_type: the provider's type; `<source>.` before it is left out.
        body: what to post as it is.
        document: what to post as its provider writes it, with this id and the present time; without body and
            document it is a sample of the type.
        event_id: the delivery's id; a fresh one by default.
        url: where it will be posted to, for providers that sign that.
        secret: what to sign with, like a tenant's; the source's first by default.

    Raises:
        NotFoundError: there is no such source, or no sample of the type.
        SettingsError: its recipe or secret can't be used.
    """
    recipe = recipe_of(source, settings.source(source))
    wanted, identity, now = event_type.removeprefix(f"{source}."), event_id or new_id(recipe), time.time()
    if body is None:
        if document is None:
            document = find_sample(sampled_as(settings, source, recipe), wanted, directories(settings))
        body = body_of(recipe, document, event_id=identity, timestamp=now)
    signing, own = (recipe, secret) if secret is not None else signing_of(settings, source, recipe)
    sent = sign_request(
        signing,
        own,
        body,
        event_type=wanted,
        event_id=identity,
        timestamp=now,
        url=url,
        tokens=lambda: settings.source(source).resolve_tokens(settings.inputs.environ),
    )
    return Posting(identity, sent.body, sent.headers, sent.url)


def tampered(body: bytes) -> bytes:
    """Change the last byte, so that what was JSON often still is."""
    return body[:-1] + bytes([body[-1] ^ 1]) if body else b"x"


def directories(settings: Settings) -> tuple[Path, ...]:
    """Return the folders of schemas and samples; later ones come first."""
    return (BUNDLED, *settings.schemas.directories)


def sampled_as(settings: Settings, source: str, recipe: Recipe) -> str:
    """Return whose samples to take: the source's own where there are any, else its provider's."""
    return source if sample_types(source, directories(settings)) else recipe.name


def signing_of(settings: Settings, source: str, recipe: Recipe) -> tuple[Recipe, Secret]:
    """Return what to sign with: the first secret that counts; nothing where the source wants nothing."""
    secrets = settings.secrets_of(source)
    if secrets or not recipe.verify:
        return recipe, next(iter(secrets), Secret(""))
    if settings.source(source).allow_unsigned:
        return recipe.model_copy(update={"verify": []}), Secret("")
    raise SettingsError(
        f"sources.{source} has no secret that still counts", hint=f"add one to sources.{source}.secrets"
    )
