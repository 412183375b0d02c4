"""Places in the user's code: every error about a definition begins with file and line."""

from __future__ import annotations

import hashlib
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import DefinitionError

if TYPE_CHECKING:
    from types import FrameType, FunctionType

_HOUSE: Final = "tidemill."


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def problem(self, sentence: str, *, hint: str) -> DefinitionError:
        """Return an error about what stands here."""
        return DefinitionError(f"{self}: {sentence}", hint=hint)


def calling_frame() -> FrameType:
    """Return the innermost frame that isn't the SDK's own: the line of the user's code that called it."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.currentframe is the same call, but may be None
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith((_HOUSE, "contextlib")):
        frame = frame.f_back
    return frame


def calling_place() -> Place:
    """Return the line of the user's code that called the SDK."""
    frame = calling_frame()
    return Place(frame.f_code.co_filename, frame.f_lineno)


def place_of(function: FunctionType) -> Place:
    """Return where a function is defined, from its first decorator on."""
    return Place(function.__code__.co_filename, function.__code__.co_firstlineno)


def code_digest(function: FunctionType) -> str:
    """Return a digest of a function's source; of its bytecode where there is no source."""
    try:
        content = inspect.getsource(function).encode()
    except (OSError, TypeError):
        content = function.__code__.co_code + repr(function.__code__.co_names).encode()
    return hashlib.sha256(content).hexdigest()[:16]
