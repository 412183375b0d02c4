"""The presets as `tidemill sources` shows them: a table of all, and how to set one up."""

from __future__ import annotations

from typing import Any, NamedTuple

from gateway.recipes import catalogue, pages
from gateway.recipes.presets import preset, preset_names


class PresetHelp(NamedTuple):
    """How to set a preset up.

    Attributes:
        row: what it does and how to set it up, for programs.
        text: the same as its page in the documentation.
    """

    row: dict[str, Any]
    text: str


def preset_rows() -> list[dict[str, Any]]:
    """Return a row for every preset, by name."""
    return [catalogue.row(preset(name)) for name in preset_names()]


def preset_help(name: str) -> PresetHelp | None:
    """Return how to set a preset up, None where there is none of the name."""
    if name not in preset_names():
        return None
    recipe = preset(name)
    row = catalogue.row(recipe) | {
        "secret": recipe.provider.secret,
        "settings": catalogue.settings_of(recipe),
        "checks": [catalogue.proof_in_words(proof) for proof in recipe.verify],
        "notes": recipe.provider.notes,
        "evidence": [one.model_dump() for one in recipe.evidence],
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
    }
    return PresetHelp(row, pages.page(recipe))
