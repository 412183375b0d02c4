"""The documentation's page of every preset: `python -m gateway.recipes.pages docs/providers` writes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.recipes import catalogue
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.samples import sample_types

if TYPE_CHECKING:
    from gateway.recipes.recipe import Recipe

_COLUMNS: Final = ("provider", "preset", "scheme", "handshake", "retries", "verification")


def pages() -> dict[str, str]:
    """Return every page by the name of its file."""
    return {"index.md": index(), **{f"{name}.md": page(preset(name)) for name in preset_names()}}


def index() -> str:
    """Return the page that leads to all others."""
    rows = [_row(preset(name)) for name in preset_names()]
    levels = [f"- **{name}**: {meaning}" for name, meaning in catalogue.LEVELS.items()]
    return "\n".join(
        [
            "# Providers",
            "",
            f"Tidemill comes with {len(rows)} presets. Each is a file of",
            "[schemas/recipes](../../schemas/recipes) that says how a provider signs, challenges, names and",
            "retries, and what that rests on. `tidemill sources list --presets` prints this table,",
            "`tidemill sources show NAME` what stands on a page. A sender without a preset is",
            "[described in the settings](../settings.md#a-sender-without-a-preset).",
            "",
            f"| {' | '.join(_COLUMNS)} |",
            f"|{'---|' * len(_COLUMNS)}",
            *rows,
            "",
            "How far a preset was verified:",
            "",
            *levels,
            "",
        ]
    )


def _row(recipe: Recipe) -> str:
    facts = catalogue.row(recipe)
    link = f"[{facts['title']}]({recipe.name}.md)"
    cells = [link, f"`{recipe.name}`", *(facts[name] or "" for name in _COLUMNS[2:])]
    return f"| {' | '.join(cells)} |"


def page(recipe: Recipe) -> str:
    """Return the page of one preset, as Markdown."""
    parts = [_set_up(recipe), _verified(recipe), _behaviour(recipe), _events(recipe), _example(recipe)]
    return "\n".join(
        [f"# {recipe.provider.title}", "", *(line for part in parts for line in part), *_basis(recipe)]
    )


def _set_up(recipe: Recipe) -> list[str]:
    secret = catalogue.variable(recipe, "SECRET")
    learns = any(handshake.learn for handshake in recipe.handshake)
    lines = ["## Set it up", "", "```toml", *catalogue.settings_of(recipe).splitlines(), "```", ""]
    if recipe.verify and not catalogue.wants_secrets(recipe) and not learns:
        lines += [f"- {_sentence(recipe.provider.secret)}"]
    elif recipe.verify and not learns:
        lines += [f"- `{secret}`: {recipe.provider.secret or 'the secret'}."]
    if learns:
        lines += [f"- The secret: {recipe.provider.secret}. `tidemill sources show {recipe.name}` shows it."]
    lines += [f"- The address to enter there: `https://hooks.example.com/webhooks/{recipe.name}`."]
    lines += [f"- The provider's page: <{recipe.provider.docs}>."]
    lines += [f"- {_sentence(note)}" for note in recipe.provider.notes]
    return [*lines, ""]


def _verified(recipe: Recipe) -> list[str]:
    if not recipe.verify:
        return ["## What is verified", "", "Nothing: the provider signs nothing.", ""]
    lines = ["## What is verified", ""]
    for number, proof in enumerate(recipe.verify):
        if number:
            lines += ["", "Or, where the request carries that instead:", ""]
        lines += [f"- {_sentence(said)}" for said in catalogue.proof_in_words(proof)]
    return [*lines, ""]


def _behaviour(recipe: Recipe) -> list[str]:
    provider, lines = recipe.provider, []
    if provider.acknowledge_within:
        lines.append(f"It waits {provider.acknowledge_within:g} s for an answer.")
    lines.append(f"Retries: {provider.retries}." if provider.retries else "How it retries isn't known here.")
    if provider.body_limit:
        lines.append(f"Its bodies have up to {provider.body_limit} bytes, which this source takes.")
    for handshake in recipe.handshake:
        when = "" if handshake.signed else " before anything is verified"
        lines.append(f"Its handshake *{handshake.name}* is answered{when}.")
    if recipe.answer:
        lines.append(
            f"A delivery that was taken is answered {recipe.answer.status}{_body(recipe.answer.body)}."
        )
    if recipe.refusal:
        lines.append(f"A request that doesn't verify is answered {recipe.refusal.status}.")
    return ["## How it behaves", "", *(f"- {line}" for line in lines), ""]


def _body(text: str) -> str:
    return f" with `{text}`" if text and len(text) < 100 else ""  # noqa: PLR2004 - what fits into a line


def _events(recipe: Recipe) -> list[str]:
    names = recipe.event
    lines = [
        f"- type: `{recipe.name}.` and {_either(names.type)}"
        if names.type
        else f"- type: `{recipe.name}.received`",
        *([f"- action, appended to the type: {_either(names.action)}"] if names.action else []),
        f"- id: {_either(names.id)}" if names.id else "- id: derived from the delivery, since there is none",
        *([f"- time: {_either([moment.at for moment in names.time])}"] if names.time else []),
        *([f"- subject: {_either(names.subject)}"] if names.subject else []),
        *([f"- a batch at {_either(names.split)}: each item is an event"] if names.split else []),
    ]
    known = sample_types(recipe.name)
    if known:
        lines.append(
            f"- samples: {', '.join(f'`{kind}`' for kind in known)}; `tidemill send {recipe.name} {known[0]}`"
        )
    return ["## Its events", "", *lines, ""]


def _either(texts: list[str]) -> str:
    shown = [text if len(text) <= 80 else f"{text[:60]}…" for text in texts]  # noqa: PLR2004 - what fits into a line
    return " or ".join(f"`{text}`" for text in shown)


def _example(recipe: Recipe) -> list[str]:
    known = sample_types(recipe.name)
    pattern = f"{recipe.name}.{known[0]}" if known else f"{recipe.name}.>"
    return ["## An example task", "", "```python", *example(recipe, pattern).splitlines(), "```", ""]


def example(recipe: Recipe, pattern: str) -> str:
    """Return a task that takes the preset's events."""
    name = recipe.name.replace("-", "_")
    return "\n".join(
        [
            "from typing import Any",
            "",
            "from tidemill import Context, Event, task",
            "",
            "",
            f'@task(on="{pattern}")',
            f"async def note_{name}(event: Event[Any], ctx: Context) -> str:",
            '    ctx.log.info("got %s about %s", event.type, event.subject)',
            "    return event.id",
        ]
    )


def _basis(recipe: Recipe) -> list[str]:
    lines = [f"- {one.level}: {one.source}" for one in recipe.evidence]
    firmest = catalogue.level(recipe)
    return ["## What this rests on", "", f"{_sentence(catalogue.LEVELS[firmest])}", "", *lines, ""]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def write(folder: Path) -> None:
    """Write all pages into a folder, and remove those of presets that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
