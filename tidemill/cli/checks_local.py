"""The doctor's checks that need no broker: versions, packages, settings, secrets, disk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Final

from gateway.access.guard import check_exposure
from gateway.keys.store import KeyStore
from gateway.recipes.catalogue import tells_by_tokens, wants_secrets
from gateway.sources import access_of, recipe_of
from tidemill.cli import checks_secrets, checks_spool
from tidemill.cli.finding import Finding, Findings, ok, problem, warning
from tidemill.cli.shadows import check_shadows
from tidemill.kernel import clock
from tidemill.kernel.errors import TidemillError
from tidemill.kernel.jetstream import embedded_binary

if TYPE_CHECKING:
    from gateway.recipes.recipe import Recipe
    from tidemill.kernel.settings.alerts import AlertsSettings
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.secrets import SecretRef
    from tidemill.kernel.settings.sections import SourceSettings

OLDEST_PYTHON: Final = (3, 11)
OLDEST_CLIENT: Final = (2, 16)
LITTLE_SPACE: Final = 256 << 20
"""Bytes of free disk below which the broker will soon refuse to store anything."""


def installation() -> Findings:
    """Check interpreter, libraries and packages."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        yield ok("python", f"{python}, tidemill {metadata.version('tidemill')}")
    else:
        yield problem("python", f"{python} is too old", "install Python 3.11 or later")
    client = metadata.version("nats-py")
    if _numbers(client) >= OLDEST_CLIENT:
        yield ok("nats-py", client)
    else:
        yield problem("nats-py", f"{client} is too old", "install nats-py 2.16 or later")
    yield _tried("packages", check_shadows, "gateway, consumers and schemas are Tidemill's own")


def configuration(settings: Settings) -> Findings:
    """Check what the settings say, as far as it can be judged without the broker."""
    file = settings.inputs.file
    yield ok("settings", str(file) if file.exists() else f"there is no {file}: the environment and defaults")
    yield from _secrets(settings)
    yield from checks_secrets.keys(settings)
    yield from _sources(settings)
    yield _tried("control", lambda: check_exposure(settings.control), _control(settings))
    yield from _durability(settings)
    yield from checks_spool.spool(settings)
    if settings.nats.embedded:
        yield _tried("nats-server", embedded_binary.find, "the embedded broker's program is there")
        yield _space(settings)


def _secrets(settings: Settings) -> Findings:
    bad = 0
    references = list(_references(settings))
    for key, reference in references:
        try:
            reference.resolve(settings.inputs.environ)
        except TidemillError as error:
            bad += 1
            yield problem("secrets", f"{key}: {error.sentence}", error.hint)
    if not bad:
        yield ok("secrets", f"{len(references)} resolve" if references else "none are needed")


def _references(settings: Settings) -> Iterator[tuple[str, SecretRef]]:
    for name, source in settings.sources.items():
        for key in ("secrets", "verify_tokens"):
            for secret in getattr(source, key):
                if secret.active(clock.now()):
                    yield f"sources.{name}.{key}", secret.value
    for reference in settings.gateway.secret_key:
        yield "gateway.secret_key", reference
    yield from _references_of_destinations(settings)
    yield from _references_of_alerts(settings.alerts)
    if settings.nats.password is not None:
        yield "nats.password", settings.nats.password
    if settings.egress.proxy is not None:
        yield "egress.proxy", settings.egress.proxy
    if settings.client.key is not None:
        yield "client.key", settings.client.key


def _references_of_destinations(settings: Settings) -> Iterator[tuple[str, SecretRef]]:
    for name, destination in settings.destinations.items():
        yield f"destinations.{name}.url", destination.url
        for secret in destination.secrets:
            if secret.active(clock.now()):
                yield f"destinations.{name}.secrets", secret.value
        for header, reference in destination.headers.items():
            yield f"destinations.{name}.headers.{header}", reference


def _references_of_alerts(alerts: AlertsSettings) -> Iterator[tuple[str, SecretRef]]:
    for name, chat in alerts.slack.items():
        yield f"alerts.slack.{name}.url", chat.url
    for name, email in alerts.email.items():
        if email.password is not None:
            yield f"alerts.email.{name}.password", email.password
    for name, webhook in alerts.webhook.items():
        yield f"alerts.webhook.{name}.url", webhook.url
        for secret in webhook.secrets:
            if secret.active(clock.now()):
                yield f"alerts.webhook.{name}.secrets", secret.value
        for header, reference in webhook.headers.items():
            yield f"alerts.webhook.{name}.headers.{header}", reference


def _sources(settings: Settings) -> Findings:
    if not settings.sources:
        yield warning("sources", "there are none", "add [sources.<name>] to take webhooks in")
    for name, source in settings.sources.items():
        try:
            recipe = recipe_of(name, source)
            access_of(name, recipe, source, KeyStore())
        except TidemillError as error:
            yield problem("sources", f"{name}: {error.sentence}", error.hint)
        else:
            yield _source(name, source, recipe)


def _source(name: str, source: SourceSettings, recipe: Recipe) -> Finding:
    """Say what is wrong with a source that can be served."""
    if source.allow_unsigned:
        return warning(
            "sources", f"{name} takes unsigned deliveries", "set its secrets and drop allow_unsigned"
        )
    others = source.learn or source.tenants or (not source.secrets and not wants_secrets(recipe))
    if not others and not any(secret.active(clock.now()) for secret in source.secrets):
        return problem("sources", f"{name} has no secret that still counts", "add the present one")
    if tells_by_tokens(recipe) and not source.verify_tokens:
        what = f"{name} lets nobody in: nothing says whose requests count"
        return problem("sources", what, "set its verify_tokens")
    if any(handshake.token for handshake in recipe.handshake) and not source.verify_tokens:
        return warning("sources", f"{name} can't answer its provider's handshake", "set its verify_tokens")
    return ok("sources", name)


def _control(settings: Settings) -> str:
    keys = len(settings.control.keys)
    return f"{settings.control.listen}, {f'{keys} API keys' if keys else 'this machine only'}"


def _durability(settings: Settings) -> Findings:
    if not settings.nats.embedded:
        yield ok("durability", "set at the servers: 'sync_interval: always' makes 2xx survive a power cut")
    elif settings.nats.durability == "os":
        yield warning(
            "durability",
            "nats.durability is 'os': a power cut loses messages that were acknowledged",
            'set [nats] durability = "fsync" where that matters',
        )
    else:
        yield ok("durability", "fsync: what is acknowledged survives a power cut")


def _space(settings: Settings) -> Finding:
    folder = settings.nats.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free, limit = shutil.disk_usage(folder).free, settings.events.max_bytes
    told = f"{free >> 20} MiB free for {settings.nats.data_dir}"
    if free < LITTLE_SPACE:
        return problem("disk", told, "free some, or set [nats] data_dir to a larger disk")
    if free < limit:
        return warning("disk", f"{told}, events alone may take {limit >> 20} MiB", "lower events.max_bytes")
    return ok("disk", told)


def _tried(subject: str, check: Callable[[], object], fine: str) -> Finding:
    try:
        check()
    except TidemillError as error:
        return problem(subject, error.sentence, error.hint)
    return ok(subject, fine)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
