"""How the command line was called: the options that stand before the command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings


@dataclass(frozen=True, slots=True)
class Invocation:
    """The global options; `settings` is what they make of file and environment."""

    config: Path | None = None
    url: str | None = None
    key: str | None = None

    def settings(self, overrides: Mapping[str, Any] | None = None) -> Settings:
        """Read the settings.

        Args:
            overrides: tables that the command's own options set, as for `Settings.load`.

        Raises:
            SettingsError: something in them is wrong.
        """
        from tidemill.kernel.settings.model import Settings  # noqa: PLC0415 - pydantic's models delay --help

        client = {name: value for name, value in (("url", self.url), ("key", self.key)) if value is not None}
        return Settings.load(self.config, overrides={"client": client, **(overrides or {})})


def invocation(context: typer.Context) -> Invocation:
    """Return how the command line was called."""
    return cast("Invocation", context.find_object(Invocation) or Invocation())
