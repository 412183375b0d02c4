"""The documentation's pages of the providers are those of the presets, and what they show works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gateway.recipes import catalogue
from gateway.recipes.pages import example, pages
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import SCHEMES
from gateway.recipes.selector import PARTS
from gateway.sources import build_intakes
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings
from tidemill.task import Task

FOLDER = Path(__file__).parents[3] / "docs" / "providers"


def test_the_pages_are_up_to_date() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    hint = "run: python -m gateway.recipes.pages docs/providers"
    assert written.keys() == pages().keys(), hint
    assert [name for name, text in pages().items() if written[name] != text] == [], hint


@pytest.mark.parametrize("name", preset_names())
def test_the_settings_of_a_page_can_be_served(name: str) -> None:
    text = catalogue.settings_of(preset(name))
    environ = dict.fromkeys(re.findall(r"env:(\w+)", text), "a-secret")
    settings = Settings.load(None, environ, tomllib.loads(text))
    assert build_intakes(settings, LiveSettings(settings)).keys() == {name}


def test_the_recipes_of_the_page_on_recipes_can_be_served() -> None:
    page = (FOLDER.parent / "recipes.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    for text in examples:
        environ = dict.fromkeys(re.findall(r"env:(\w+)", text), "a-secret")
        settings = Settings.load(None, environ, tomllib.loads(text))
        assert len(build_intakes(settings, LiveSettings(settings))) == 1


def test_the_page_on_recipes_names_every_scheme_and_variable() -> None:
    page = (FOLDER.parent / "recipes.md").read_text(encoding="utf-8")
    assert [name for name in SCHEMES if f"`{name}`" not in page] == []
    variables = set(PARTS) - {"form", "text"}
    assert [name for name in variables if f"{{{name}}}" not in page] == []


def test_the_example_is_a_task() -> None:
    names: dict[str, object] = {}
    exec(compile(example(preset("azure-event-grid"), "azure-event-grid.>"), "page", "exec"), names)
    assert isinstance(names["note_azure_event_grid"], Task)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_told_in_words(name: str) -> None:
    recipe = preset(name)
    row = catalogue.row(recipe)
    assert row["verification"] in catalogue.LEVELS
    assert recipe.provider.secret or not recipe.verify
    assert (row["scheme"] == "none") is (not recipe.verify)
    assert all(catalogue.proof_in_words(proof) for proof in recipe.verify)
