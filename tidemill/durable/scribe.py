"""What a run's code logs or prints, taken down line by line while it executes.

Lines come from any thread that the handler's context variables reach. Taking one down costs a lock and an
append; what is said too much is counted and let go. Nobody here waits for anything.
"""

from __future__ import annotations

import re
import threading
import time
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Final, NamedTuple

from tidemill.durable.branch import step_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST_LINE: Final = 8 * 1024
_OVERHEAD: Final = 64
"""Bytes that a line costs besides its text."""
_REST: Final = (
    r"""[\w-]{0,32}["']?\s{0,4}[=:]\s{0,4})"""
    r"""(?:"[^"\n]{0,8192}"?|'[^'\n]{0,8192}'?|(?:Bearer|Basic)\s{1,4}[^\s"',;&]+|[^\s"',;&]+)"""
)
_IN_URL: Final = re.compile(r"(?<=://)[^/\s:@]{0,256}:[^/\s@]{1,256}(?=@)")
STARS: Final = "***"


class Line(NamedTuple):
    """One line: when (seconds since the epoch), how serious, in which step, who said what."""

    at: float
    level: str
    step: str
    logger: str
    text: str


class Redactor:
    """Puts stars where a text names a secret and its value."""

    def __init__(self, words: Sequence[str]) -> None:
        joined = "|".join(re.escape(word) for word in words)
        self._named = re.compile(f"((?:{joined}){_REST}", re.IGNORECASE) if words else None

    def __call__(self, text: str) -> str:
        """Return the text without the values."""
        if self._named is not None:
            text = self._named.sub(rf"\1{STARS}", text)
        return _IN_URL.sub(STARS, text)


class Scribe:
    """Takes down what one execution says.

    Args:
        run: the run's id.
        attempt: the number of the attempt.
        limit: how many bytes are kept.
        redact: what is done with each text.
        wake: called with the scribe when it has something after it had nothing.
        repeating: says whether the code does again what it has done, and so says again what it has said.
    """

    __slots__ = (
        "_lines", "_lock", "_missed", "_partial", "_redact", "_room", "_wake", "attempt", "repeating", "run",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - what a scribe has to know
        self,
        run: str,
        attempt: int,
        limit: int,
        redact: Callable[[str], str],
        wake: Callable[[Scribe], None],
        *,
        repeating: Callable[[], bool] | None = None,
    ) -> None:
        self.run = run
        self.attempt = attempt
        self.repeating = repeating
        self._redact = redact
        self._wake = wake
        self._room = limit
        self._lines: list[Line] = []
        self._missed = 0
        self._partial: dict[str, str] = {}
        self._lock = threading.Lock()

    def log(self, level: str, logger: str, text: str, at: float | None = None) -> None:
        """Take a line down."""
        if self.repeating is not None and self.repeating():
            return
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}… ({len(text)} characters)"
        line = Line(at or time.time(), level, step_here(), logger, self._redact(text))
        with self._lock:
            first = not self._lines and not self._missed
            self._room -= len(line.text) + _OVERHEAD
            if self._room >= 0:
                self._lines.append(line)
            else:
                self._missed += 1
        if first:
            self._wake(self)

    def printed(self, stream: str, text: str) -> None:
        """Take down what was printed, by whole lines."""
        with self._lock:
            whole = self._partial.pop(stream, "") + text
            *lines, rest = whole.split("\n")
            if len(rest) > LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            if rest:
                self._partial[stream] = rest
        for line in lines:
            if line.strip():
                self.log("info", stream, line.rstrip("\r"))

    def close(self) -> None:
        """Take down what was printed without an end of its line."""
        with self._lock:
            rest, self._partial = self._partial, {}
        for stream, text in rest.items():
            self.log("info", stream, text)
        self.repeating = None  # who is asked knows the scribe: neither could be freed

    def take(self) -> tuple[list[Line], int]:
        """Return the lines that nobody has taken yet, and how many weren't kept."""
        with self._lock:
            lines, self._lines = self._lines, []
            missed, self._missed = self._missed, 0
        return lines, missed


_scribe: ContextVar[Scribe | None] = ContextVar("tidemill_scribe", default=None)


def scribe_here() -> Scribe | None:
    """Return who takes down what the calling code says, None outside of runs."""
    return _scribe.get()


def attend(scribe: Scribe | None) -> Token[Scribe | None]:
    """Have what is started from here taken down."""
    return _scribe.set(scribe)


def dismiss(token: Token[Scribe | None]) -> None:
    """Take `attend` back."""
    _scribe.reset(token)
