"""Hears what handlers log and print: one handler on the root logger, and a wrapper around each output.

What isn't said by a run's code passes by at the price of one look at a context variable.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from tidemill.durable.scribe import scribe_here

if TYPE_CHECKING:
    from typing import TextIO

_FORMATTER: Final = logging.Formatter()
_HOUSE: Final = ("gateway.", "consumers.", "tidemill.kernel.", "tidemill.durable.", "tidemill.cli.", "nats")


class RunLogHandler(logging.Handler):
    """Hands records to whoever takes down what the run's code says."""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record down; one that can't be formatted is logging's own to complain about."""
        scribe = scribe_here()
        if scribe is None or record.name.startswith(_HOUSE):
            return
        try:
            text = record.getMessage()
            if record.exc_info:
                text += f"\n{_FORMATTER.formatException(record.exc_info)}"
            elif record.exc_text:
                text += f"\n{record.exc_text}"
        except Exception:  # noqa: BLE001 - as logging does: what a handler logs must not end it
            self.handleError(record)
            return
        scribe.log(record.levelname.lower(), record.name, text, record.created)


class Overheard(io.TextIOBase):
    """An output that passes everything on, and has what runs print taken down."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def write(self, text: str) -> int:
        """Write as ever."""
        written = self._stream.write(text)
        scribe = scribe_here()
        if scribe is not None:
            scribe.printed(self._name, text)
        return written

    def flush(self) -> None:
        """Flush what lies behind."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Say whether a person reads it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the number of what lies behind."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Hearing:
    """How many want to hear at present: several workers of one process share the ears."""

    def __init__(self) -> None:
        self._wanted = 0
        self._undo = contextlib.ExitStack()

    def begin(self, level: int, *, prints: bool) -> None:
        self._wanted += 1
        if self._wanted == 1:
            self._undo.enter_context(_logs(level))
            if prints:
                self._undo.enter_context(_prints())

    def end(self) -> None:
        self._wanted -= 1
        if not self._wanted:
            self._undo.close()


_hearing: Final = _Hearing()


@contextlib.contextmanager
def overhearing(level: str, *, prints: bool) -> Iterator[None]:
    """Hear what runs log from a level on, and what they print, inside of the block."""
    _hearing.begin(logging.getLevelName(level.upper()), prints=prints)
    try:
        yield
    finally:
        _hearing.end()


@contextlib.contextmanager
def _logs(level: int) -> Iterator[None]:
    root, handler = logging.getLogger(), RunLogHandler(level)
    before = root.level
    limited = [one for one in root.handlers if level < before and one.level < before]
    levels = [one.level for one in limited]
    for one in limited:
        one.setLevel(before)  # what is written to the log stays what the settings want there
    root.addHandler(handler)
    root.setLevel(min(level, before))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        for one, old in zip(limited, levels, strict=True):
            one.setLevel(old)


@contextlib.contextmanager
def _prints() -> Iterator[None]:
    output, errors = sys.stdout, sys.stderr
    heard = Overheard(output, "stdout"), Overheard(errors, "stderr")
    sys.stdout, sys.stderr = heard
    try:
        yield
    finally:
        if sys.stdout is heard[0]:
            sys.stdout = output
        if sys.stderr is heard[1]:
            sys.stderr = errors
