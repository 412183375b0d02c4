"""The register of sources: each with what is set, what its provider needs, and how its requests fared."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from gateway.recipes import catalogue, pages
from gateway.recipes.samples import sample_types
from gateway.sources import recipe_of, reply_timeout
from tidemill.history.delivery_queries import DeliveryQuery
from tidemill.kernel.settings.source_facts import secret_facts, webhook_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.metrics import Metrics
    from gateway.recipes.recipe import Recipe
    from gateway.schemas import SchemaStore
    from tidemill.history.reader import HistoryReader
    from tidemill.history.rows import DeliveryRow
    from tidemill.kernel.settings.model import Settings

DAY: Final = 86400
_HOUR: Final = 3600
_AT_ONCE: Final = 8
VERDICTS: Final = ("accepted", "duplicate", "quarantined", "mixed", "refused", "handshake", "unavailable")
"""What a source's requests are counted by."""


class Register:
    """Says what may be known of configured sources; never a secret.

    Args:
        settings: where they stand.
        metrics: what this process has counted.
        schemas: what holds their deliveries.
        history: how their requests fared.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, schemas: SchemaStore, history: HistoryReader
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._schemas = schemas
        self._history = history

    @property
    def names(self) -> list[str]:
        """The names of all."""
        return sorted(self._settings.sources)

    def summary(self, name: str) -> dict[str, Any]:
        """Return what a list shows of a source.

        Raises:
            NotFoundError: there is none of that name.
        """
        source = self._settings.source(name)
        recipe = recipe_of(name, source)
        return {
            "name": name,
            "preset": source.preset,
            "title": recipe.provider.title or name,
            "url": webhook_address(self._settings, name),
            "policy": source.policy,
            "scheme": catalogue.scheme(recipe),
            "tenants": bool(source.tenants),
            "secrets": self._secrets(name),
        }

    def details(self, name: str) -> dict[str, Any]:
        """Return everything about a source.

        Raises:
            NotFoundError: there is none of that name.
        """
        source = self._settings.source(name)
        recipe = recipe_of(name, source)
        provider = recipe.provider
        return self.summary(name) | {
            "allow_unsigned": source.allow_unsigned,
            "max_body": source.max_body or max(self._settings.gateway.max_body, provider.body_limit or 0),
            "tolerance": source.tolerance,
            "reply_timeout": reply_timeout(source, recipe),
            "keeps_refused": source.keep_refused is not None,
            "handshakes": [handshake.name for handshake in recipe.handshake],
            "samples": sample_types(recipe.name),
            "since_start": self.counted(name),
            "help": help_of(recipe),
        }

    def counted(self, name: str) -> dict[str, int]:
        """Return how many documents of a source this process has held against schemas, by what came of it."""
        return {
            outcome: number for (source, outcome), number in self._schemas.outcomes.items() if source == name
        }

    async def fared(self, name: str, *, latest: int = 1) -> dict[str, Any]:
        """Return how a source's requests fared: counts of the last 24 hours, and the newest.

        Raises:
            HistoryError: the history can't be asked.
        """
        rates = self._history.delivery_rates(span=_HOUR, since=time.time() - DAY, source=name)
        buckets, newest = await asyncio.gather(
            rates, self._history.deliveries(DeliveryQuery(source=name), limit=latest)
        )
        counts = dict.fromkeys(VERDICTS, 0)
        for bucket in buckets:
            if bucket.what in counts:
                counts[bucket.what] += bucket.count
        rows: tuple[DeliveryRow, ...] = tuple(newest.rows)
        last = rows[0].at if rows else max((float(bucket.at) for bucket in buckets), default=None)
        return {
            "counts": {what: number for what, number in counts.items() if number},
            "last": last,
            "rows": rows,
        }

    async def all_fared(self) -> Mapping[str, dict[str, Any]]:
        """Return how the requests of all sources fared, by name.

        Raises:
            HistoryError: the history can't be asked.
        """
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(self.names), _AT_ONCE):
            portion = self.names[start : start + _AT_ONCE]
            found |= dict(zip(portion, await asyncio.gather(*map(self.fared, portion)), strict=True))
        return found

    def _secrets(self, name: str) -> list[dict[str, Any]]:
        matched = self._metrics.secrets
        secrets = self._settings.source(name).secrets
        return [
            secret_facts(self._settings, secret) | {"matched": matched.get((name, str(place)), 0)}
            for place, secret in enumerate(secrets)
        ]


def help_of(recipe: Recipe) -> dict[str, Any]:
    """Return how a provider is set up, in words."""
    provider = recipe.provider
    return {
        "docs": provider.docs,
        "secret": provider.secret,
        "notes": list(provider.notes),
        "checks": [list(catalogue.proof_in_words(proof)) for proof in recipe.verify],
        "acknowledge_within": provider.acknowledge_within,
        "retries": provider.retries,
        "settings": catalogue.settings_of(recipe),
        "example": pages.example(recipe, f"{recipe.name}.>"),
        "verification": catalogue.LEVELS[catalogue.level(recipe)],
    }
