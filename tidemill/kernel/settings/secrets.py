"""Secrets: how they are written in settings, and their values, which no log line can show."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT: Final = "env:"
FILE: Final = "file:"


class Secret:
    """A secret's value. `reveal` is the only way to it; repr, str and formatting show stars.

    Attributes:
        place: where it stands among those of its source in the settings, counted from 0, by which logs and
            metrics name it; None where it stands in none.
    """

    __slots__ = ("_value", "place")

    def __init__(self, value: str, place: int | None = None) -> None:
        self._value = value
        self.place = place

    def reveal(self) -> str:
        """Return the value as text."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret as it stands in settings: `env:NAME`, `file:PATH`, or the value itself."""

    text: str = field(repr=False)

    def __str__(self) -> str:
        """Return the reference; a value that stands in the settings itself is never shown."""
        return self.text if self.text.startswith((ENVIRONMENT, FILE)) else "***"

    @property
    def path(self) -> Path | None:
        """The file that holds the secret, None where it isn't in a file."""
        return Path(self.text.removeprefix(FILE)) if self.text.startswith(FILE) else None

    def resolve(self, environ: Mapping[str, str]) -> Secret:
        """Return the secret's value.

        Raises:
            SettingsError: the variable or the file doesn't exist, can't be read, or is empty.
        """
        value = self._look_up(environ)
        if not value:
            raise SettingsError(f"the secret {self} is empty", hint="an empty secret would let everybody in")
        return Secret(value)

    def _look_up(self, environ: Mapping[str, str]) -> str:
        if self.path is not None:
            return _read(self.path)
        if not self.text.startswith(ENVIRONMENT):
            return self.text
        name = self.text.removeprefix(ENVIRONMENT)
        if name not in environ:
            raise SettingsError(
                f"the secret {self} can't be resolved: there is no variable {name}",
                hint=f"export {name} before the start, or write the secret as file:PATH",
            )
        return environ[name]


def _read(path: Path) -> str:
    """Return a secret file's text without the newline that editors and secret stores put at its end."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the secret file:{path} can't be read: {error}",
            hint="check that the file exists and that this user may read it",
        ) from error
