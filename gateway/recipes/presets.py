"""Presets: the recipes that come with the product, one file a provider under `schemas/recipes/`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import orjson

from gateway.recipes.recipe import Recipe, parse_recipe
from gateway.schemas import BUNDLED
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

RECIPES: Path = BUNDLED / "recipes"


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.json"))


@cache
def preset(name: str) -> Recipe:
    """Return a preset's recipe.

    Raises:
        SettingsError: there is no such preset.
    """
    path = RECIPES / f"{name}.json"
    if name not in preset_names():
        known = ", ".join(preset_names())
        raise SettingsError(f"there is no preset {name!r}", hint=f"use one of {known}, or write a recipe")
    document = orjson.loads(path.read_bytes())
    document.pop("$schema", None)
    return parse_recipe(document, where=path.name)
