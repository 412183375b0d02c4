"""Golden samples as bodies of deliveries, written as their providers write them."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson

from gateway.recipes import selector, template
from gateway.recipes.moment import datetime_of
from tidemill.kernel.clock import rfc3339
from tidemill.samples import find_sample, sample_types

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.recipe import Recipe

__all__ = ["body_of", "find_sample", "new_id", "sample_types"]

_FORM: Final = "application/x-www-form-urlencoded"
_MOST_IDS: Final = 10**9


def new_id(recipe: Recipe) -> str:
    """Return a fresh delivery id of the provider's form."""
    if recipe.sender.numeric_ids:
        return str(secrets.randbelow(_MOST_IDS))
    prefix = recipe.sender.id_prefix
    return f"{prefix}{secrets.token_hex(12)}" if prefix else str(uuid.uuid4())


def body_of(recipe: Recipe, document: Any, *, event_id: str, timestamp: float) -> bytes:
    """Return a sample as the body of one delivery: written as the provider writes, with this id and time.

    Args:
        recipe: the provider's, which says where id and time stand in the body, if they do.
        document: the sample; it stays as it is. Of a provider that sends batches it is one item.
        event_id: the delivery's id.
        timestamp: seconds since the epoch.
    """
    copy = orjson.loads(orjson.dumps(document))
    place = "item" if recipe.event.split else "body"
    for text in recipe.event.id:
        _set(copy, template.lone_selector(text), event_id, place)
    for moment in recipe.event.time[:1]:
        _set(copy, selector.parse(moment.at), _written(timestamp, moment.unit), place)
    return _encoded(recipe, batch_of(recipe.event.split, copy))


def batch_of(split: Sequence[str], item: Any) -> Any:
    """Return the delivery that brings an item alone, where its provider sends batches."""
    if not split:
        return item
    name = selector.parse(split[0]).name
    batch: Any = [item]
    for part in reversed(selector.path_of(name) if name else ()):
        batch = {str(part): batch}
    return batch


def _encoded(recipe: Recipe, document: Any) -> bytes:
    """Write a document as the provider does: as JSON, or as a form where it sends nothing else."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 if recipe.sender.indented else 0)
    if "body" in recipe.event.data and not recipe.sender.headers.get("Content-Type", "").startswith(_FORM):
        return text
    if "form" in recipe.event.data and isinstance(document, dict):
        return urlencode(document, doseq=True).encode()
    name = next((data.removeprefix("form:") for data in recipe.event.data if data.startswith("form:")), None)
    return text if name is None else urlencode({name: text}).encode()


def _set(document: Any, found: selector.Selector | None, value: str | int, place: str) -> None:
    """Replace what stands at a selector of a place, `body` or `item`; what isn't there isn't added."""
    if found is None or found.place != place:
        return
    *path, last = selector.path_of(found.name)
    holder = selector.find(document, tuple(path))
    if not isinstance(holder, dict) or last not in holder:
        return
    if isinstance(holder[last], int) and isinstance(value, str):
        holder[last] = int(value) if value.isascii() and value.isdigit() else holder[last]
    else:
        holder[last] = str(value) if isinstance(holder[last], str) else value


def _written(timestamp: float, unit: str) -> str | int:
    if unit == "rfc3339":
        return rfc3339(datetime_of(timestamp) or datetime.fromtimestamp(0, UTC))
    return int(timestamp * (1000 if unit == "ms" else 1))
