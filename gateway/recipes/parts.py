"""What the models of a recipe are made of: their base class, checked texts, and lists that may be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Never

from pydantic import BaseModel, ConfigDict, Field

from gateway.recipes import selector, template
from tidemill.kernel.errors import SettingsError


class Part(BaseModel):
    """Base of all parts of a recipe: frozen, and a key that isn't listed is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Text = Annotated[str, Field(min_length=1, max_length=200)]
Seconds = Annotated[float, Field(ge=0, le=7 * 86400, allow_inf_nan=False)]
Unit = Literal["s", "ms", "rfc3339"]


def checked_selector(*places: str) -> Callable[[str], str]:
    """Return a validator of a selector that may only select from some places."""

    def check(text: str) -> str:
        try:
            found = selector.parse(text)
        except SettingsError as error:
            raise ValueError(f"{error.sentence}: {error.hint}") from error
        return text if found.kind in places else wrong_place(found, places)

    return check


def checked_template(*places: str) -> Callable[[str], str]:
    """Return a validator of a template whose selectors may only select from some places."""

    def check(text: str) -> str:
        try:
            holes = template.selectors(template.parse(text))
        except SettingsError as error:
            raise ValueError(f"{error.sentence}: {error.hint}") from error
        wrong = [hole for hole in holes if hole.kind not in places]
        return wrong_place(wrong[0], places) if wrong else text

    return check


def wrong_place(found: selector.Selector, places: tuple[str, ...]) -> Never:
    """Raise what a validator raises for a selector that can't stand where it stands."""
    raise ValueError(f"{str(found)!r} can't stand here: use one of {', '.join(places)}")


def listed(value: object) -> object:
    """Return a value that may stand for a list of one as that list."""
    return value if isinstance(value, list | tuple) else [value]
